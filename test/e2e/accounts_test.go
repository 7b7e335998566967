package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/test/testenv"
)

// slowly waits for what takes the restart of several API servers.
func slowly(t *testing.T, what string, check func() error) {
	t.Helper()
	err := testenv.Wait(t.Context(), check)
	for end := time.Now().Add(6 * time.Minute); err != nil && time.Now().Before(end); { // Wait gives up earlier
		err = testenv.Wait(t.Context(), check)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestServiceAccountKeyRotation rotates the key of several real API servers, with an agent each. They restart one at a time, and each accepts at every moment
// what each other issues. Tokens of the old key are accepted until it leaves, which a token that never ends delays, and are refused then. A host whose agent
// is away holds the rotation, by its name.
func TestServiceAccountKeyRotation(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.settled(1)
	old, err := c.issue(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	robot := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "robot", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
	}, Type: corev1.SecretTypeServiceAccountToken}
	if err := c.as(0).Create(t.Context(), robot); err != nil {
		t.Fatal(err)
	}
	stop := c.watch()

	last := c.hosts[masters-1]
	last.stop()
	c.edit(func(s *v1alpha1.ServiceAccountKeySpec) {
		s.Rotation.Trigger, s.RetainOldKeyFor = "now", metav1.Duration{Duration: time.Second}
	})
	c.holds(last.config.Host, v1alpha1.ReasonLeaseExpired)
	last.stop = last.run(agent.Options{})
	c.settled(2)
	c.rotated(t, old)

	c.edit(func(s *v1alpha1.ServiceAccountKeySpec) { s.AcceptTokenLoss = []string{"default/robot"} })
	c.settled(1)
	for i, h := range c.hosts {
		testenv.Eventually(t, h.config.Host+" refuses the old token", func() error {
			if ok, err := c.accepts(t.Context(), i, old); err != nil || ok {
				return fmt.Errorf("accepted: %t (%w)", ok, err)
			}
			return nil
		})
	}
	stop()
}

// settled waits until there are so many keys, of which every API server uses what is published of them.
func (c *cluster) settled(keys int) {
	c.t.Helper()
	slowly(c.t, fmt.Sprintf("%d keys are in use", keys), func() error {
		k, err := c.key()
		if err != nil {
			return err
		}
		published := slices.DeleteFunc(slices.Clone(k.Status.Keys), func(s v1alpha1.KeyStatus) bool { return s.State == v1alpha1.GenerationWithdrawn })
		if k.Status.Rotation.Phase != "" || len(k.Status.Keys) != keys || len(published) != keys || k.Status.Acknowledged == nil ||
			int(*k.Status.Acknowledged) != len(c.hosts) {
			return fmt.Errorf("status is %+v", k.Status)
		}
		return nil
	})
}

// holds waits until the rotation waits for a host alone, by its name.
func (c *cluster) holds(host, reason string) {
	c.t.Helper()
	slowly(c.t, "the rotation waits for "+host, func() error {
		k, err := c.key()
		if err != nil {
			return err
		}
		if p := k.Status.Pending; len(p) != 1 || p[0].Host != host || p[0].Reason != reason || k.Status.Rotation.Phase != v1alpha1.KeyDistributingTrust {
			return fmt.Errorf("pending are %+v in phase %q", p, k.Status.Rotation.Phase)
		}
		return nil
	})
}

// rotated says that the new key signs, that the old one's tokens are accepted still, and that a token that never ends keeps it.
func (c *cluster) rotated(t *testing.T, old string) {
	t.Helper()
	for i, h := range c.hosts {
		if ok, err := c.accepts(t.Context(), i, old); err != nil || !ok {
			t.Errorf("%s refuses what was issued before the rotation: %v", h.config.Host, err)
		}
	}
	slowly(t, "a token that never ends keeps the key", func() error {
		k, err := c.key()
		if err != nil {
			return err
		}
		due := meta.FindStatusCondition(k.Status.Conditions, v1alpha1.KeyRemovalDueCondition)
		if due == nil || due.Reason != v1alpha1.ReasonTokensLeft || !slices.Equal(k.Status.TokenSecrets, []string{"default/robot"}) {
			return fmt.Errorf("%+v, %v", due, k.Status.TokenSecrets)
		}
		return nil
	})
}
