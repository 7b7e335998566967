package timeline_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

func TestPublication(t *testing.T) {
	steps := func(p timeline.Publication) (out []string) {
		for _, s := range p.Steps() {
			out = append(out, string(s.Phase)+" "+s.Word)
			if s.Note == "" {
				t.Errorf("nothing is said of %s", s.Phase)
			}
		}
		return out
	}
	k := &v1alpha1.ServiceAccountKey{}
	if p := timeline.PublicationOf(k); p.Rotating() || p.Title() != "no key yet" || p.Tally() != "" || p.Steps() != nil {
		t.Errorf("a new one is %q, %q", p.Title(), p.Tally())
	}
	k.Status.Keys = []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationActive}, {Number: 2, State: v1alpha1.GenerationTrusted}}
	if p := timeline.PublicationOf(k); p.Title() != "key 1 signs" {
		t.Errorf("it is %q", p.Title())
	}
	k.Status.Rotation = v1alpha1.KeyRotationStatus{Phase: v1alpha1.KeyDistributingTrust, Reason: v1alpha1.RotationRenewalDue, From: 1, To: 2}
	k.Status.Acknowledged, k.Status.Required = new(int32(5)), new(int32(30))
	k.Status.Pending = make([]v1alpha1.PendingConsumer, 20)
	p := timeline.PublicationOf(k)
	if p.Title() != "key 1 → 2 (RenewalDue)" || p.Tally() != "5/30 acknowledged" || p.More() != 5 || p.Took(time.Time{}.Add(time.Minute)) != time.Minute {
		t.Errorf("it is %q, %q, and %d more", p.Title(), p.Tally(), p.More())
	}
	if diff := cmp.Diff([]string{"DistributingTrust under way", "SwitchingSigner to come"}, steps(p)); diff != "" {
		t.Error(diff)
	}
	k.Status.Rotation.Phase = v1alpha1.KeySwitchingSigner
	if diff := cmp.Diff([]string{"DistributingTrust done", "SwitchingSigner under way"}, steps(timeline.PublicationOf(k))); diff != "" {
		t.Error(diff)
	}
}
