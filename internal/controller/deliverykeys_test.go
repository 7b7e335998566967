package controller_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
)

// deliveryKey is the delivery key of the namespace as it is stored.
func (w *env) deliveryKey() *authority.DeliveryKey {
	w.t.Helper()
	key, err := w.store().StoredDelivery(w.t.Context(), w.ns)
	if err != nil || key == nil {
		w.t.Fatalf("%v, %v", key, err)
	}
	return key
}

// deliveredBy waits until some Secrets are signed by a key, and name another one as the next; "": none.
func (w *env) deliveredBy(key, next string, secrets ...string) {
	w.t.Helper()
	w.eventually("it is signed by "+key, func() error {
		texts, err := authority.PublishedDelivery(w.t.Context(), w.api, w.authority, w.ns)
		if err != nil {
			return err
		}
		var keys []ed25519.PublicKey
		for _, text := range texts {
			k, err := delivery.ParsePublic([]byte(text))
			if err != nil {
				return err
			}
			keys = append(keys, k)
		}
		for _, name := range secrets {
			d, by, err := delivery.Open(keys, w.secret(name).Data[consumers.DeliveryKey])
			if err != nil {
				return err
			}
			named := ""
			if d.NextKey != nil {
				named = delivery.KeyID(d.NextKey)
			}
			if by != key || named != next {
				return fmt.Errorf("%s is signed by %q, and names %q", name, by, named)
			}
		}
		return nil
	})
}

// TestTheNextDeliveryKeySignsOnceEveryAgentHasIt: what agents deliver names it until then, with a manager that starts anew too; whom no agent delivers
// for is not waited for.
func TestTheNextDeliveryKeySignsOnceEveryAgentHasIt(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent), newKubelet("node2", byAgent), newKubelet("node3"))
	for _, name := range []string{"node1", "node2", "node3"} {
		w.ready(name, &v1alpha1.NodeCredential{})
	}
	w.settled()
	first := w.deliveryKey()
	w.deliveredBy(first.ID(), "", "node1-tls", "node2-tls")
	with, err := first.WithNext(w.clock.Now())
	if err == nil {
		err = w.store().ReplaceDelivery(t.Context(), first, with)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.deliveredBy(first.ID(), with.NextID(), "node1-tls", "node2-tls")
	has := ack.Report{DeliveryKeys: []string{first.ID(), with.NextID()}}
	w.reports("node1-tls", 0, has)
	for since, said := range map[time.Duration]ack.Report{0: {DeliveryKeys: []string{first.ID()}}, -30 * time.Minute: has} { // silent since: set back, perhaps
		w.reports("node2-tls", since, said)
		w.later(0)
		w.deliveredBy(first.ID(), with.NextID(), "node1-tls", "node2-tls")
		if now := w.deliveryKey(); now.ID() != first.ID() {
			t.Fatal("the next key signs before every agent has it")
		}
	}
	w.reports("node2-tls", 0, has)
	w.deliveredBy(with.NextID(), "", "node1-tls", "node2-tls")
	if published, err := authority.PublishedDelivery(t.Context(), w.api, w.authority, w.ns); err != nil || len(published) != 1 {
		t.Errorf("%q are published, %v", published, err)
	}
	w.later(0)
	w.deliveredBy(with.NextID(), "", "node1-tls", "node2-tls")
}

// TestARestoredDeliveryKeyIsPublished, though nothing is delivered by an agent yet.
func TestARestoredDeliveryKeyIsPublished(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	elsewhere := authority.New("elsewhere", fake.NewClientBuilder().Build(), nil)
	key, err := elsewhere.Delivery(t.Context(), w.ns, "one before")
	if err == nil {
		err = w.store().CreateDelivery(t.Context(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.deliveredBy(key.ID(), "")
}

// TestANextDeliveryKeyOfAnotherNamespaceWaits: whoever makes a namespace of that name once more has no part in it.
func TestANextDeliveryKeyOfAnotherNamespaceWaits(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	elsewhere := authority.New("elsewhere", fake.NewClientBuilder().Build(), nil)
	key, err := elsewhere.Delivery(t.Context(), w.ns, "one before")
	if err == nil {
		key, err = key.WithNext(w.clock.Now())
	}
	if err == nil {
		err = w.store().CreateDelivery(t.Context(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	byPerson := func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual } // so that it is recorded
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byPerson))
	w.ready("node1", &v1alpha1.NodeCredential{})
	edit(w, "node1", &v1alpha1.NodeCredential{}, byAgent)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityRetained)
	w.reports("node1-tls", 0, ack.Report{DeliveryKeys: []string{key.ID(), key.NextID()}})
	w.later(0)
	w.settled()
	if now := w.deliveryKey(); now.ID() != key.ID() || now.NextID() != key.NextID() {
		t.Errorf("key %q signs, and %q is next", now.ID(), now.NextID())
	}
}
