package controller

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/stall"
)

// stopped is a clock that stands.
type stopped time.Time

func (c stopped) Now() time.Time                  { return time.Time(c) }
func (c stopped) Since(t time.Time) time.Duration { return time.Time(c).Sub(t) }
func (c stopped) Latest() time.Time               { return time.Time(c) }

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
	b, long := base{clock: stopped(now)}, metav1.NewTime(now.Add(-time.Hour))
	err := refused(apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", nil))
	result, _ := b.result(err, zeroTime, metav1.Condition{Type: v1alpha1.StalledCondition, Reason: v1alpha1.ReasonWriteRefused, LastTransitionTime: long})
	if !stall.Is(err) || result.RequeueAfter != 15*time.Minute {
		t.Errorf("%v is tried again after %s", err, result.RequeueAfter)
	}
	if result, _ = b.result(err, now.Add(3*time.Minute), metav1.Condition{Type: v1alpha1.StalledCondition, Reason: v1alpha1.ReasonWriteRefused, LastTransitionTime: long}); result.RequeueAfter != 3*time.Minute {
		t.Errorf("the object is due sooner, and looked at after %s", result.RequeueAfter)
	}
}
