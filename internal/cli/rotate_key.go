package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// rotateKey says how to rotate a service account key, or does it, and shows the progress.
func rotateKey(c *cobra.Command, api client.WithWatch, f rotateFlags, objects status.Objects, name, namespace string) error {
	key := keyNamed(objects, name)
	if key == nil {
		return fmt.Errorf("rotate: there is no ServiceAccountKey %q%s%s", name, in(namespace), near(name, namesOf(objects, status.KindServiceAccountKey)))
	}
	now := clock.RealClock{}.Now()
	desired := f.desired(now)
	err := f.asked(c, desired, key.Spec.Rotation.Trigger, planned{
		show: func(style status.Style) (rotate.PlanReport, string, error) {
			plan := rotate.NewKeyPlan(now, key, objects, orNow(desired, now))
			return shown(plan.Report, func(applied bool) (string, error) { return plan.Text(style, applied) }, f.apply)
		},
		apply: func() error {
			return setTrigger(c.Context(), api, key.DeepCopy(), desired, string(key.Status.Rotation.Phase), f.force)
		},
	})
	if err != nil || !f.watch {
		return err
	}
	return newKeyFollower(key, desired, c.OutOrStdout()).follow(c.Context(), api, f.timeout)
}

func keyNamed(objects status.Objects, name string) *v1alpha1.ServiceAccountKey {
	for i := range objects.Keys {
		if objects.Keys[i].Name == name {
			return &objects.Keys[i]
		}
	}
	return nil
}

// newKeyFollower follows the rotation of a service account key.
func newKeyFollower(key *v1alpha1.ServiceAccountKey, trigger string, out io.Writer) *follower {
	f := followerOf(key, &v1alpha1.ServiceAccountKeyList{}, out)
	var watch *rotate.KeyWatch
	f.look = func(o client.Object) (progress, rotate.Outcome, error) {
		key, ok := o.(*v1alpha1.ServiceAccountKey)
		if !ok {
			return nil, rotate.Going, fmt.Errorf("rotate: a ServiceAccountKey is a %T", o)
		}
		if watch == nil {
			watch = rotate.BeginKey(trigger, key)
		}
		return watch, watch.Observe(key), nil
	}
	return f
}
