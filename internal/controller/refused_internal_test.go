package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestRefusedDelay: a write that is refused is tried again the later, the longer it has been refused, and for ever.
func TestRefusedDelay(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	for since, want := range map[time.Duration]time.Duration{
		0: time.Minute, 59 * time.Second: time.Minute, 4 * time.Minute: 4 * time.Minute, 15 * time.Minute: 15 * time.Minute, 1000 * time.Hour: 15 * time.Minute,
	} {
		for reason, delay := range map[string]time.Duration{v1alpha1.ReasonWriteRefused: want, v1alpha1.ReasonSecretConflict: time.Minute} {
			c := metav1.Condition{Type: v1alpha1.StalledCondition, Reason: reason, LastTransitionTime: metav1.NewTime(now.Add(-since))}
			if got := refusedDelay(now, []metav1.Condition{c}); got != delay {
				t.Errorf("%s, since %s: %s", reason, since, got)
			}
		}
	}
	if got := refusedDelay(now, nil); got != time.Minute {
		t.Errorf("without a condition: %s", got)
	}
}
