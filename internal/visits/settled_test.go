package visits

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestSettledVisits: a visit is saved only while it would be made from the same, and its answer holds.
func TestSettledVisits(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	name, a, b := types.NamespacedName{Namespace: "prod", Name: "node1"}, sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	var v Settled
	saved := func(inputs [sha256.Size]byte, at time.Time) bool {
		_, same := v.Unchanged(name, inputs, at)
		return same
	}
	if saved(a, now) {
		t.Error("the first visit is saved")
	}
	v.Note(name, a, true, now.Add(time.Hour))
	if result, same := v.Unchanged(name, a, now.Add(time.Minute)); !same || result.RequeueAfter != 59*time.Minute {
		t.Errorf("the same again: %v %v", result, same)
	}
	if saved(b, now) || saved(a, now.Add(time.Hour)) {
		t.Error("a visit from something else, or whose time has come, is saved")
	}
	v.Note(name, b, true, time.Time{})
	if !saved(b, now.Add(1000*time.Hour)) || saved(a, now) {
		t.Error("what holds for ever")
	}
	v.Note(name, b, false, time.Time{})
	if saved(b, now) || len(v.of) != 0 {
		t.Error("an object that is not settled is not visited")
	}
}

// TestSettledAfter: one that waits for anything is visited again.
func TestSettledAfter(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	is := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status}
	}
	ready := is(v1alpha1.ReadyCondition, metav1.ConditionTrue)
	for name, tc := range map[string]struct {
		conditions []metav1.Condition
		err        error
		want       bool
	}{
		"ready":     {[]metav1.Condition{ready}, nil, true},
		"an error":  {[]metav1.Condition{ready}, errors.New("x"), false},
		"waiting":   {[]metav1.Condition{ready, is(v1alpha1.ReconcilingCondition, metav1.ConditionTrue)}, nil, false},
		"stalled":   {[]metav1.Condition{ready, is(v1alpha1.StalledCondition, metav1.ConditionTrue)}, nil, false},
		"not ready": {[]metav1.Condition{is(v1alpha1.ReadyCondition, metav1.ConditionFalse)}, nil, false},
		"unknown":   {nil, nil, false},
	} {
		c := &v1alpha1.NodeCredential{Status: v1alpha1.NodeCredentialStatus{Conditions: tc.conditions}}
		settled, until := SettledAfter(c, now, ctrl.Result{RequeueAfter: time.Hour}, tc.err)
		if settled != tc.want || !until.Equal(now.Add(time.Hour)) {
			t.Errorf("%s: %v until %v", name, settled, until)
		}
	}
}
