package controller_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
)

// TestAgentKeepsItsIdentity takes from an agent what it may read as soon as it delivers nothing, and its identity a week after the last object of its host went.
func TestAgentKeepsItsIdentity(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	node := newKubelet("node1", byAgent)
	w.create(newCA("k8s"), newServer("k8s-master"), node)
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls")
	account := w.account("k8s-node1")
	w.read(account)
	mounted := func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryMounted }

	edit(w, "node1", &v1alpha1.NodeCredential{}, mounted)
	w.retired("k8s-node1", account.UID, false)
	w.restartAt(w.clock.Now().Add(2 * agents.KeptFor))
	w.retired("k8s-node1", account.UID, false)

	w.delete(node)
	w.retired("k8s-node1", account.UID, true)
	w.restartAt(w.clock.Now().Add(agents.KeptFor - time.Minute))
	w.retired("k8s-node1", account.UID, true)
	again := newKubelet("node1", byAgent)
	w.create(again)
	w.gets("k8s-node1", "node1-tls")
	w.restartAt(w.clock.Now().Add(time.Hour))
	w.gets("k8s-node1", "node1-tls")

	w.delete(again)
	w.retired("k8s-node1", account.UID, true)
	w.restartAt(w.clock.Now().Add(agents.KeptFor))
	w.withoutAccount("k8s-node1")
	if left := append(w.grants(w.ns), w.grants(w.agentsNamespace())...); len(left) > 0 {
		t.Errorf("there are still %v", left)
	}
}

// retired waits until the agent of a host may read nothing, and says that its identity is still the one that it was, and whether that is to end.
func (w *env) retired(host string, uid types.UID, ends bool) {
	w.t.Helper()
	account := w.account(host)
	w.soon(100*time.Millisecond, "the agent of "+host+" has nothing but its identity", func() error {
		seal, err := w.store().Seal(w.t.Context())
		if err != nil {
			return err
		}
		w.read(account)
		record, ok := agents.RecordOf(seal, account)
		if left := w.grants(w.ns); !ok || len(left) > 0 || record.GoneTime.IsZero() == ends {
			return fmt.Errorf("there are %v, and its record is %+v", left, record)
		}
		return nil
	})
	w.settled()
	if w.read(account); account.UID != uid {
		w.t.Error("the ServiceAccount was made anew")
	}
	if _, err := w.token(w.agent(host), host); err != nil {
		w.t.Errorf("it may not make tokens of its own: %v", err)
	}
}

// withoutAccount waits until a host's agent has no ServiceAccount.
func (w *env) withoutAccount(host string) {
	w.t.Helper()
	w.soon(100*time.Millisecond, "the account of "+host+" is gone", func() error {
		if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(w.account(host)), &corev1.ServiceAccount{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
}
