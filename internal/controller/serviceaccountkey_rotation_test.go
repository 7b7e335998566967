package controller_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki/keyring"
)

// masters is a cluster of three API servers with one service account key, each with an agent on its host.
type masters struct {
	*env
	tokens map[string]*ack.Tokens // that each agent lists
	has    map[string]string      // the digest of the sa.pub that each host has
}

var threeMasters = []string{"k8s-master1", "k8s-master2", "k8s-master3"}

func newMasters(t *testing.T) *masters {
	t.Helper()
	m := &masters{newEnv(t), map[string]*ack.Tokens{}, map[string]string{}}
	m.create(newCA("k8s"), newAccountKey("k8s-sa"))
	for _, name := range threeMasters {
		m.create(newServer(name, withKey, func(c *v1alpha1.APIServerCertificate) {
			c.Spec.HostName, c.Spec.Delivery.Mode = name, v1alpha1.DeliveryAgent
			c.Spec.Endpoint = "https://" + name + ":6443"
		}))
	}
	for _, name := range threeMasters {
		m.ready(name, &v1alpha1.APIServerCertificate{})
	}
	m.keysPublished()
	m.settled()
	for _, name := range threeMasters { // nothing is installed there yet: each gets what there is at once
		m.visit(name, true)
	}
	m.acknowledged(3)
	return m
}

// visit lets the agent of a host install and report what its document names, which is to be what is published or not yet.
func (m *masters) visit(name string, present bool) {
	m.t.Helper()
	published := delivery.DigestOf(m.secret("k8s-sa").Data["sa.pub"])
	m.eventually(fmt.Sprintf("%s is told of what is published: %t", name, present), func() error {
		d, err := m.signed(name + "-tls")
		if err == nil && (d.ServiceAccounts == nil || (d.ServiceAccounts.SHA256 == published) != present) {
			err = fmt.Errorf("it is told of %+v", d.ServiceAccounts)
		}
		return err
	})
	if present {
		m.has[name] = published
	}
	m.report(name)
}

// report lets the agent of a host report what it has.
func (m *masters) report(name string) {
	m.t.Helper()
	s := m.contents(name + "-tls")
	s.Contents["k8s-sa/sa.pub"] = m.has[name]
	m.reports(name+"-tls", 0, ack.Report{Installed: s, Verified: s, Tokens: m.tokens[name]})
}

// reportAll lets all agents renew what they have said.
func (m *masters) reportAll() {
	for _, name := range threeMasters {
		m.report(name)
	}
}

// acknowledged waits until so many API servers are known to use what is published.
func (m *masters) acknowledged(n int32) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("%d have acknowledged", n), func() error {
		if s := m.accountKey().Status; s.Acknowledged == nil || *s.Acknowledged != n || *s.Required != 3 {
			return fmt.Errorf("the status is %+v", s)
		}
		return nil
	})
}

// pendingAre waits until those are pending, in this order, and for these reasons.
func (m *masters) pendingAre(want ...string) {
	m.t.Helper()
	m.eventually("the right ones are waited for", func() error {
		var got []string
		for _, p := range m.accountKey().Status.Pending {
			got = append(got, fmt.Sprintf("%s of %s: %s", p.Name, p.Host, p.Reason))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("pending are %v instead of %v", got, want)
		}
		return nil
	})
}

// rotate asks for another key.
func (m *masters) rotate(trigger string) {
	m.t.Helper()
	edit(m.env, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.Rotation.Trigger = trigger })
}

// takeTurns lets every host install what is published, one after the other: of those behind it, none is told of it.
func (m *masters) takeTurns() {
	m.t.Helper()
	for i, name := range threeMasters {
		m.visit(name, true)
		for _, behind := range threeMasters[min(i+2, len(threeMasters)):] {
			m.visit(behind, false)
		}
	}
}

// TestServiceAccountKeyRotation rotates a key over three hosts that take turns. One that is silent holds it up, by name.
func TestServiceAccountKeyRotation(t *testing.T) {
	t.Parallel()
	m := newMasters(t)
	old := m.accountKeys()
	m.rotate("one")
	m.keyPhase(v1alpha1.KeyDistributingTrust)
	both := m.keysPublished()
	if first, _ := both.Active(); len(both.Ledger.Publication()) != 2 || first.Public() == nil || both.Ledger.Publication()[0].ID != old.Ledger.Keys[0].ID {
		t.Errorf("the new key is not trusted beside the old one, which signs: %+v", both.Ledger)
	}
	m.pendingAre("k8s-master1 of k8s-master1: NotInstalled", "k8s-master2 of k8s-master2: AwaitingTurn", "k8s-master3 of k8s-master3: AwaitingTurn")
	m.visit("k8s-master1", true)
	m.visit("k8s-master3", false)
	m.clock.SetTime(m.clock.Now().Add(16 * time.Minute))
	m.report("k8s-master1")
	m.report("k8s-master3")
	m.pendingAre("k8s-master2 of k8s-master2: LeaseExpired", "k8s-master3 of k8s-master3: AwaitingTurn")
	if edit := m.accountKey().Status.Pending[0].Edit; !strings.Contains(edit, `start the agent on host "k8s-master2"`) {
		t.Errorf("what to do is %q", edit)
	}
	m.visit("k8s-master3", false)
	m.visit("k8s-master2", true)
	m.visit("k8s-master3", true)
	m.keyPhase(v1alpha1.KeySwitchingSigner)
	next := m.keysPublished()
	if got := next.Ledger.Publication()[0]; got.Number != 2 || differs(m.secret("k8s-sa").Data["sa.key"], reveal(t, next)) != nil {
		t.Errorf("it is signed by %+v", got)
	}
	m.takeTurns()
	m.keyPhase("")
	done := m.accountKeys()
	if _, kept := done.Keys[1]; kept || keyStates(done.Ledger)[1] != keyring.Retiring || keyStates(done.Ledger)[2] != keyring.Active {
		t.Errorf("the old key signs still, or is not trusted: %+v", done.Ledger)
	}
	m.rotate("") // starts nothing, and so does a text that had its effect
	m.rotate("one")
	m.settled()
	if m.accountKeys().Ledger.Last != 2 {
		t.Error("a former trigger rotates the key again")
	}
	m.removal()
}

// reveal is the key that signs.
func reveal(t *testing.T, k *authority.AccountKeys) []byte {
	t.Helper()
	private, err := k.Active()
	if err != nil {
		t.Fatal(err)
	}
	text, err := private.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// removal lets the time of the old key come: tokens that never end keep it, until their end is accepted, and then it leaves each host in turn.
func (m *masters) removal() {
	m.t.Helper()
	m.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonKeyRetained)
	m.clock.SetTime(m.clock.Now().Add(25 * time.Hour))
	m.reportAll()
	m.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonTokensUnlisted)
	switched := m.accountKeys().Ledger.SwitchedAt()
	m.tokens["k8s-master1"] = &ack.Tokens{Listed: true, Before: switched.Add(-time.Second)} // of another switch
	m.tokens["k8s-master2"] = &ack.Tokens{Listed: true, Before: switched, Count: 2, Names: []string{"ci/deployer", "kube-system/old"}}
	m.tokens["k8s-master3"] = &ack.Tokens{Listed: true, Before: switched, Count: 1, Names: []string{"ci/deployer"}}
	m.reportAll()
	due := m.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonTokensLeft)
	if !strings.Contains(due.Message, "ci/deployer, kube-system/old") || !strings.Contains(due.Message, "spec.acceptTokenLoss") {
		m.t.Errorf("the message is %q", due.Message)
	}
	if s := m.accountKey().Status; !slices.Equal(s.TokenSecrets, []string{"ci/deployer", "kube-system/old"}) || *s.TokenSecretCount != 2 {
		m.t.Errorf("the status names %v", s.TokenSecrets)
	}
	edit(m.env, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.AcceptTokenLoss = []string{"ci/deployer"} })
	m.settled()
	if keyStates(m.accountKeys().Ledger)[1] != keyring.Retiring {
		m.t.Error("the old key has left although a token needs it")
	}
	edit(m.env, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) {
		k.Spec.AcceptTokenLoss = []string{"ci/deployer", "kube-system/old"}
	})
	m.eventually("the old key leaves", func() error {
		if s := keyStates(m.accountKeys().Ledger)[1]; s != keyring.Withdrawn {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	m.keysPublished()
	m.takeTurns()
	m.eventually("it is gone", func() error {
		if k := m.accountKeys(); len(k.Ledger.Keys) != 1 || len(k.Public) != 1 {
			return fmt.Errorf("there are %+v", k.Ledger.Keys)
		}
		return nil
	})
}

// TestServiceAccountKeyRollback takes a trigger back before the new key signs: those that have it already drop it, one after the other.
func TestServiceAccountKeyRollback(t *testing.T) {
	t.Parallel()
	m := newMasters(t)
	m.rotate("one")
	m.keyPhase(v1alpha1.KeyDistributingTrust)
	m.keysPublished()
	m.visit("k8s-master1", true)
	m.visit("k8s-master2", true)
	m.rotate("")
	m.keyPhase("")
	k := m.keysPublished()
	if _, kept := k.Keys[2]; kept || keyStates(k.Ledger)[2] != keyring.Withdrawn {
		t.Errorf("the new key is kept: %+v", k.Ledger)
	}
	m.pendingAre("k8s-master1 of k8s-master1: NotInstalled", "k8s-master2 of k8s-master2: AwaitingTurn")
	m.visit("k8s-master2", false)
	m.visit("k8s-master1", true)
	m.visit("k8s-master2", true)
	m.eventually("it is gone", func() error {
		if n := len(m.accountKeys().Ledger.Keys); n != 1 {
			return fmt.Errorf("there are %d keys", n)
		}
		return nil
	})
	m.rotate("one") // it had no effect, and may be given again
	m.keyPhase(v1alpha1.KeyDistributingTrust)
}

// TestServiceAccountKeyWithoutAgents rotates a key by its age, whose API servers mount their Secret, or are told by a person. What is only assumed lets no
// key leave before a person accepts it.
func TestServiceAccountKeyWithoutAgents(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newAccountKey("k8s-sa", func(k *v1alpha1.ServiceAccountKey) {
		k.Spec.RotateEvery = &metav1.Duration{Duration: 10 * 24 * time.Hour}
		k.Spec.AcceptTokenLoss = []string{"*"}
	}), newServer("by-hand", withKey, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}
	}), newServer("mounted", withKey, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryMounted}
	}))
	w.ready("mounted", &v1alpha1.APIServerCertificate{})
	acknowledge := func() {
		t.Helper()
		k := w.keysPublished()
		digest, err := k.PublicSHA256()
		if err != nil {
			t.Fatal(err)
		}
		edit(w, "by-hand", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
			c.Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{SerialNumber: w.serial("by-hand-tls"), PublicKeysSHA256: digest}
		})
		w.settled()
	}
	acknowledge()
	w.later(10*24*time.Hour + time.Minute)
	if k := w.keyPhase(v1alpha1.KeyDistributingTrust); k.Status.Rotation.Reason != v1alpha1.RotationRenewalDue {
		t.Errorf("it is rotated for %q", k.Status.Rotation.Reason)
	}
	w.later(20 * time.Minute) // the one is assumed to have it, the other one not
	pending := w.keyPhase(v1alpha1.KeyDistributingTrust).Status.Pending
	if len(pending) != 1 || pending[0].Name != "by-hand" || !strings.Contains(pending[0].Edit, w.accountKey().Status.PublicKeysSHA256) {
		t.Errorf("pending are %+v", pending)
	}
	acknowledge()
	w.keyPhase(v1alpha1.KeySwitchingSigner)
	acknowledge()
	w.keyPhase(v1alpha1.KeySwitchingSigner)
	w.later(20 * time.Minute)
	w.keyPhase("")
	w.later(25 * time.Hour)
	w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.WithdrawalPendingCondition, metav1.ConditionTrue, v1alpha1.ReasonAssumed)
	edit(w, "mounted", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery.AcceptAssumed = v1alpha1.AcceptAssumedAlways
	})
	w.eventually("the old key leaves", func() error {
		if s := keyStates(w.accountKeys().Ledger)[1]; s != keyring.Withdrawn {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
}

// TestServiceAccountKeyOfNobody asks for a rotation where no API server names the key.
func TestServiceAccountKeyOfNobody(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newAccountKey("k8s-sa"))
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	edit(w, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.Rotation.Trigger = "one" })
	blocked := w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "TriggerChanged")
	if !strings.Contains(blocked.Message, "spec.serviceAccountKeyRef") || w.accountKeys().Ledger.Last != 1 {
		t.Errorf("the message is %q", blocked.Message)
	}
	w.create(newCA("k8s"), newServer("k8s-master", withKey))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.later(20 * time.Minute)
	w.keyPhase(v1alpha1.KeyDistributingTrust)
}

// TestServiceAccountKeyIsDeleted with deletionPolicy 'Delete': its keys are marked, are taken up by an object that comes back, and are destroyed seven
// days after the next one has gone.
func TestServiceAccountKeyIsDeleted(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	deletes := func(k *v1alpha1.ServiceAccountKey) { k.Spec.DeletionPolicy = v1alpha1.DeletionDelete }
	w.create(newAccountKey("k8s-sa", deletes))
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	w.settled()
	first := w.accountKeys().Ledger.Keys
	deleted := func(want bool) {
		t.Helper()
		w.eventually(fmt.Sprintf("the keys are marked: %t", want), func() error {
			if k := w.accountKeys(); k.Deleted.IsZero() == want {
				return errors.New("they are not so")
			}
			return nil
		})
	}
	w.delete(w.accountKey())
	deleted(true)
	w.create(newAccountKey("k8s-sa", deletes))
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	deleted(false)
	if got := w.accountKeys().Ledger.Keys; !slices.Equal(got, first) {
		t.Errorf("the keys are %+v, and were %+v", got, first)
	}
	w.delete(w.accountKey())
	deleted(true)
	w.later(7*24*time.Hour + time.Minute)
	w.eventually("they are destroyed", func() error {
		if k := w.accountKeys(); !k.Tombstone() {
			return fmt.Errorf("there are %+v", k.Ledger.Keys)
		}
		return nil
	})
}
