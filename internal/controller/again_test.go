package controller_test

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestDeletedAgain: what was deleted is made again, however often somebody deletes it.
func TestDeletedAgain(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.settled()
	for _, o := range []client.Object{
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "node2-tls"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "node2-kubeconfig"}},
	} {
		for range 3 {
			w.delete(o)
			w.eventually(o.GetName()+" is made again", func() error { return w.api.Get(t.Context(), client.ObjectKeyFromObject(o), o) })
			w.settled()
		}
	}
}
