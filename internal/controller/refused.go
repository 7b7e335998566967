package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/refusal"
	"clusterpki.io/operator/internal/stall"
)

// refused makes a stall of a write that the API server refuses for good.
func refused(err error) error {
	err = leaf.Conflict(err)
	if err == nil || stall.Is(err) {
		return err
	}
	if way := refusal.WayOut(err); way != "" {
		return stall.Because(v1alpha1.ReasonWriteRefused,
			"the API server refuses what the operator writes: %v. To go on, %s. It is tried again by itself", err, way)
	}
	return err
}

// maxRefusedDelay is how long at most a refused write waits until it is tried again.
const maxRefusedDelay = 15 * time.Minute

// refusedDelay is when a write that is refused is tried again: the longer it has been refused, the later. What was signed is kept for that.
func refusedDelay(now time.Time, conditions []metav1.Condition) time.Duration {
	c := meta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	if c == nil || c.Reason != v1alpha1.ReasonWriteRefused {
		return stalledDelay
	}
	return min(max(now.Sub(c.LastTransitionTime.Time), stalledDelay), maxRefusedDelay)
}
