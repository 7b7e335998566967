package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

func TestExpectedText(t *testing.T) {
	in := func(d time.Duration) timeline.Expectation { return timeline.Expectation{At: now.Add(d)} }
	unknown := timeline.Expectation{Unknown: "NodeCredential/node1 waits for a person"}
	for name, c := range map[string]struct {
		phase, whole timeline.Expectation
		want         string
	}{
		"nothing":               {},
		"both":                  {in(time.Minute), in(time.Hour), "the phase is expected to end in 1m, the whole in 1h"},
		"the last phase":        {in(time.Hour), in(time.Hour), "it is expected to end in 1h"},
		"late":                  {in(-time.Minute), in(time.Hour), "the phase was expected to end 1m ago"},
		"the whole is unknown":  {in(time.Minute), unknown, "the phase is expected to end in 1m; the end of the whole is not known: " + unknown.Unknown},
		"everything is unknown": {unknown, unknown, "its end is not known: " + unknown.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := timeline.Rotation{Expected: c.whole, Steps: []timeline.Step{{State: v1alpha1.PhaseActive, Expected: c.phase}}}
			if diff := cmp.Diff(c.want, status.ExpectedText(now, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestJustEnded: nothing that has ended is said to end in a second.
func TestJustEnded(t *testing.T) {
	last := v1alpha1.LastRotationStatus{To: 2, Result: v1alpha1.RotationCompleted, EndTime: after(time.Second)}
	if got := status.LastText(now, last); got != "the last rotation, to generation 2, was completed 0s ago" {
		t.Error(got)
	}
}

// TestLastRotation says how the rotation before has ended, in words and for programs.
func TestLastRotation(t *testing.T) {
	for result, want := range map[v1alpha1.RotationResult]string{
		v1alpha1.RotationCompleted:  "the last rotation, to generation 2, was completed 2h ago",
		v1alpha1.RotationRolledBack: "the last rotation, to generation 2, was rolled back 2h ago",
		v1alpha1.RotationSuperseded: "the last rotation, to generation 2, was superseded 2h ago",
	} {
		r := status.Build(now, status.Objects{CAs: []v1alpha1.ClusterCA{ca("k8s", func(c *v1alpha1.ClusterCA) {
			c.Status.LastRotation = v1alpha1.LastRotationStatus{From: 1, To: 2, Result: result, EndTime: after(-2 * time.Hour)}
		})}}, "")
		if text := r.Text(status.Style{}); !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
		if last := r.ClusterCAs[0].LastRotation; last == nil || last.Result != result {
			t.Errorf("the report says %+v", last)
		}
	}
}
