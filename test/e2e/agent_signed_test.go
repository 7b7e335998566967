package e2e_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// contents are what Secrets hold, by their names.
type contents map[string]map[string][]byte

// attacked is a host with a real agent, whose Secrets somebody may update.
type attacked struct {
	*host
	lease string
	// issue is what the operator writes for a new certificate of an object of a UID, and of the name "", which is the host's own, or of another one.
	issue func(name, uid string) contents
}

// attackedHosts are a node, with its kubelet's credential, and a control plane host, with its API server.
func attackedHosts(t *testing.T) map[string]attacked {
	t.Helper()
	node, master := byHand(t), serverByHand(t)
	return map[string]attacked{
		"a kubelet": {node, handLease, func(name, uid string) contents {
			return contents{handLease: good(t).signed(t, node.config.Namespace, cmp.Or(name, "kubelet"), handHost, uid)}
		}},
		"an API server": {master, serverLease, func(name, uid string) contents {
			return master.serverSecrets(cmp.Or(name, master.config.APIServer.Name), uid)
		}},
	}
}

// edit is what somebody puts into a Secret, and what the agent says of that: nothing of service account keys, which stay on the host while they are those
// that are signed.
type edit struct {
	secret string
	data   map[string][]byte
	says   string
}

// edits are each value of the Secrets changed in turn, an older state put back, another object's copied over, and the words of the document changed under
// the signature of before.
func (a attacked) edits(current, older contents, evil pki.CA) map[string]edit {
	a.t.Helper()
	key, err := evil.Key.Reveal()
	if err != nil {
		a.t.Fatal(err)
	}
	out := map[string]edit{
		"an older state":   {a.lease, older[a.lease], v1alpha1.ReasonDeliveryOutdated},
		"another object's": {a.lease, a.issue("another", "any")[a.lease], v1alpha1.ReasonSignatureInvalid},
		"other words":      {a.lease, a.reworded(current[a.lease]), v1alpha1.ReasonSignatureInvalid},
	}
	for secret, data := range current {
		for name := range data {
			changed := maps.Clone(data)
			e := edit{secret, changed, v1alpha1.ReasonSignatureInvalid}
			switch name {
			case "tls.key":
				changed[name], e.says = key, `in Secret "`+secret
			case "sa.key":
				changed[name], e.says = key, ""
			case "sa.pub":
				changed[name], e.says = slices.Concat(data[name], evil.CertPEM()), ""
			default:
				changed[name] = slices.Concat(data[name], evil.CertPEM())
			}
			out[secret+", "+name] = e
			if without := maps.Clone(data); name != "tls.key" && secret != serverAccounts {
				delete(without, name)
				out[secret+", without "+name] = edit{secret, without, v1alpha1.ReasonSignatureInvalid}
			}
		}
	}
	return out
}

// reworded leads elsewhere: the document speaks of another object and another endpoint, under the signature of before.
func (a attacked) reworded(data map[string][]byte) map[string][]byte {
	out := maps.Clone(data)
	out[consumers.DeliveryKey] = edited(a.t, data[consumers.DeliveryKey], func(document []byte) []byte {
		document = bytes.ReplaceAll(document, []byte(`"uid":"any"`), []byte(`"uid":"another"`))
		return bytes.ReplaceAll(document, []byte("https://"), []byte("https://evil."))
	})
	return out
}

// TestAgentInstallsOnlyWhatIsSigned lets somebody who may update the Secrets of a host do all that he can with one of them. Nothing of that reaches the
// host, and the agent says why: with his own CA in client-ca.crt he would be a member of system:masters, and with a key of his own in sa.pub every
// service account.
func TestAgentInstallsOnlyWhatIsSigned(t *testing.T) {
	t.Parallel()
	evil, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "evil"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range attackedHosts(t) {
		older, current := a.issue("", "any"), contents(nil)
		a.putAll(older)
		a.run(agent.Options{})
		a.uses(older, "any")
		current = a.issue("", "any")
		a.putAll(current)
		a.uses(current, "any")
		before := a.tree()
		for what, e := range a.edits(current, older, evil) {
			if e.says == "" { // see below
				continue
			}
			a.putSecret(e.secret, e.data)
			testenv.Eventually(t, name+": "+what+" is refused", func() error {
				if r := a.report(a.lease); !strings.Contains(r.Problem, e.says) {
					return fmt.Errorf("the agent says %q, and not %q", r.Problem, e.says)
				}
				return nil
			})
			if !maps.Equal(before, a.tree()) {
				t.Errorf("%s: %s has changed the files", name, what)
			}
			a.putAll(current)
			a.uses(current, "any")
		}
		for what, e := range a.edits(current, older, evil) {
			if e.says == "" {
				a.putSecret(e.secret, e.data)
				current = a.goesOn(current, what)
			}
		}
		a.madeAnew(current)
	}
}

// goesOn has the operator issue another certificate beside service account keys that somebody has changed: the host takes that, and no more. It returns
// what is issued then.
func (a attacked) goesOn(before contents, what string) contents {
	a.t.Helper()
	was := a.tree()
	current := maps.Clone(before)
	current[a.lease] = a.issue("", "any")[a.lease]
	a.putSecret(a.lease, current[a.lease])
	a.uses(current, "any")
	files := a.tree()
	for _, name := range []string{hostfiles.ServiceAccKey, hostfiles.ServiceAccPub} {
		if files[name] != was[name] {
			a.t.Errorf("%s has changed %s", what, name)
		}
	}
	a.putAll(current)
	return current
}

// madeAnew has the object deleted and made anew, as the operator signs it then, and what was signed for the one before put back.
func (a attacked) madeAnew(before contents) {
	a.t.Helper()
	for name := range before {
		if err := shared.management.Delete(a.t.Context(), a.secret(name)); err != nil {
			a.t.Fatal(err)
		}
	}
	anew := a.issue("", "another")
	a.putAll(anew)
	a.uses(anew, "another")
	files := a.tree()
	a.putAll(before)
	a.complains(a.lease, v1alpha1.ReasonDeliveryOutdated)
	if !maps.Equal(files, a.tree()) {
		a.t.Error("what was signed for the object of before has changed the files")
	}
}

func (a attacked) putAll(c contents) {
	a.t.Helper()
	for name, data := range c {
		a.putSecret(name, data)
	}
}

// uses waits until the agent reports the certificate of an object as in use, and nothing amiss.
func (a attacked) uses(c contents, uid string) {
	a.t.Helper()
	pair, err := pki.ParseLeafCertificate(c[a.lease]["tls.crt"])
	if err != nil {
		a.t.Fatal(err)
	}
	testenv.Eventually(a.t, "the certificate is in use", func() error {
		r := a.report(a.lease)
		if told := r.Problem != "" && !strings.HasPrefix(r.Problem, v1alpha1.ReasonTargetAccessMissing); told || r.UID != uid || r.Verified == nil || r.Verified.SerialNumber != pki.SerialOf(pair.Cert) {
			return fmt.Errorf("the Lease says installed %+v, verified %+v, problem %q", r.Installed, r.Verified, r.Problem)
		}
		return nil
	})
}

// secret is a Secret of the host.
func (h *host) secret(name string) *corev1.Secret {
	h.t.Helper()
	var s corev1.Secret
	if err := shared.management.Get(h.t.Context(), client.ObjectKey{Namespace: h.config.Namespace, Name: name}, &s); err != nil {
		h.t.Fatal(err)
	}
	return &s
}

// TestPutBackTogether has somebody put back an earlier state of a Secret, with the claim that says that it is signed. The operator has signed the same as
// of a later time, which the host has taken: the host says so, and gets out of it by itself.
func TestPutBackTogether(t *testing.T) {
	t.Parallel()
	kubelet := newCredential("k8s-agent9", "kubelet", "Kubelet")
	h := byOperator(t, "k8s-agent9", kubelet)
	h.run(agent.Options{})
	acknowledged(t, kubelet.Name, v1alpha1.ReasonInUse)
	name := kubelet.TLSSecretName()
	earlier := secretOf(t, name)
	h.writes(name, func(s *corev1.Secret) { delete(s.Data, consumers.DeliveryKey) })
	h.takes(name, h.report(name).DeliveryTime)
	files := h.tree()
	last := h.report(name).DeliveryTime
	h.writes(name, func(s *corev1.Secret) { s.Data, s.Annotations = earlier.Data, earlier.Annotations })
	h.takes(name, last)
	acknowledged(t, kubelet.Name, v1alpha1.ReasonInUse)
	if !maps.Equal(files, h.tree()) {
		t.Error("the files of the host have changed")
	}
}

// writes changes a Secret as somebody who may.
func (h *host) writes(name string, change func(*corev1.Secret)) {
	h.t.Helper()
	testenv.Eventually(h.t, "Secret "+name+" is written", func() error {
		s := secretOf(h.t, name)
		change(s)
		return shared.management.Update(h.t.Context(), s)
	})
}

// takes waits until the host has taken something later, and has no problem.
func (h *host) takes(lease string, than time.Time) {
	h.t.Helper()
	testenv.Eventually(h.t, "something later is taken", func() error {
		if r := h.report(lease); !r.DeliveryTime.After(than) || r.Problem != "" {
			return fmt.Errorf("of %v is taken, and %q is the problem", r.DeliveryTime, r.Problem)
		}
		return nil
	})
}
