package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestPlantedAccount leaves a ServiceAccount alone that somebody else made, and says so; and names no Secret that is not of the host.
func TestPlantedAccount(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	planted := w.account("k8s-node1")
	planted.Labels = map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue}
	planted.Annotations = map[string]string{v1alpha1.AgentAnnotation: w.ns + "/k8s-node1", v1alpha1.ClaimAnnotation: `x {"host":{}}`}
	if err := w.api.Create(t.Context(), planted); err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}})
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent), newKubelet("node2", byAgent, ofHost("k8s-node2")),
		newKubelet("wants", byAgent, ofHost("k8s-node2"), func(c *v1alpha1.NodeCredential) { c.Spec.Role, c.Spec.SecretName = "KubeProxy", "theirs" }))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("node2", &v1alpha1.NodeCredential{})
	if e := w.event(v1alpha1.ReasonAgentAccountConflict); !strings.Contains(e.Note, planted.Name) {
		t.Errorf("the event says %q", e.Note)
	}
	w.saysOfAgent("node1", "no agent has reported", v1alpha1.ReasonAgentAccountConflict+": ", planted.Name)
	w.gets("k8s-node1", "!node1-tls")
	w.gets("k8s-node2", "node2-tls", "!theirs")
	if err := w.agent("k8s-node2").Get(t.Context(), keyOf(w.ns, "theirs"), &coordinationv1.Lease{}); !apierrors.IsForbidden(err) {
		t.Errorf("a Lease of others may be read: %v", err)
	}
	now := w.account("k8s-node1")
	if w.read(now); now.ResourceVersion != planted.ResourceVersion {
		t.Error("the planted account was changed")
	}
	if err := w.api.Delete(t.Context(), planted); err != nil {
		t.Fatal(err)
	}
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Renewal.Trigger = "1" })
	w.gets("k8s-node1", "node1-tls")
	w.saysOfAgent("node1", "no agent has reported", "!"+v1alpha1.ReasonAgentAccountConflict)
}

// saysOfAgent waits until a credential says of its agent what it should: a text that begins with '!' is one that it must not say.
func (w *env) saysOfAgent(name string, texts ...string) {
	w.t.Helper()
	w.soon(100*time.Millisecond, name+" says of its agent "+strings.Join(texts, " "), func() error {
		var c v1alpha1.NodeCredential
		w.get(name, &c)
		now := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.TrustAcknowledgedCondition)
		if now == nil || now.Reason != v1alpha1.ReasonAgentNotStarted {
			return fmt.Errorf("it says %+v", now)
		}
		for _, text := range texts {
			if text, not := strings.CutPrefix(text, "!"); strings.Contains(now.Message, text) == not {
				return fmt.Errorf("it says %q", now.Message)
			}
		}
		return nil
	})
}
