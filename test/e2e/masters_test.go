package e2e_test

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// TestThreeMasters rotates etcd's CA, and then the service account key, of three masters that one ClusterPKI describes, each with a member of etcd and an API
// server. No two hosts restart the same component at once, and each API server accepts at every moment what each other issues. ('make demo-masters' rotates
// everything, under load.)
func TestThreeMasters(t *testing.T) {
	t.Parallel()
	c := newMasters(t)
	c.settled(1)
	old, err := c.issue(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	stop := c.watching(c.watchTokens)
	c.mu.Lock()
	clear(c.restarts) // the first files may have come in two parts, the second of which restarts what had begun to run
	c.mu.Unlock()

	c.describe(func(s *v1alpha1.ClusterPKISpec) { s.CertificateAuthorities.Etcd.Rotation.Trigger = "now" })
	slowly(t, "etcd's CA is rotated", func() error {
		var ca v1alpha1.ClusterCA
		if err := shared.management.Get(t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "three-etcd-ca"}, &ca); err != nil {
			return err
		}
		if ca.Status.Rotation.Phase != "" || ca.Status.LastRotation.Result != v1alpha1.RotationCompleted {
			return fmt.Errorf("%+v", ca.Status.Rotation)
		}
		return nil
	})
	c.restarted("etcd", 2) // for both CAs, and for the new one alone
	c.restarted("kube-apiserver", 2)

	c.describe(func(s *v1alpha1.ClusterPKISpec) { s.ServiceAccountKey.Rotation.Trigger = "now" })
	c.settled(2)
	c.restarted("etcd", 2)
	c.restarted("kube-apiserver", 4)
	for i, h := range c.hosts {
		if ok, err := c.accepts(t.Context(), i, old); err != nil || !ok {
			t.Errorf("%s refuses what was issued before the rotations: %v", h.files.Name, err)
		}
	}
	stop()
}

// describe changes the ClusterPKI.
func (c *cluster) describe(change func(*v1alpha1.ClusterPKISpec)) {
	c.t.Helper()
	testenv.Eventually(c.t, "the ClusterPKI is edited", func() error {
		var pki v1alpha1.ClusterPKI
		if err := shared.management.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "three"}, &pki); err != nil {
			return err
		}
		change(&pki.Spec)
		return shared.management.Update(c.t.Context(), &pki)
	})
}

// restarted says how often a component was restarted on each host.
func (c *cluster) restarted(component string, times int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		if got := c.restarts[component+" on "+h.files.Name]; got != times {
			c.t.Errorf("%s of %s was restarted %d times instead of %d", component, h.files.Name, got, times)
		}
	}
}
