package demo

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/load"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestCountsTable(t *testing.T) {
	rows := []load.Row{
		{Identity: "admin", Kind: load.Fresh, Requests: 1000, P50: 1500 * time.Microsecond, P99: 20 * time.Millisecond, Max: time.Second},
		{Identity: "admin", Kind: load.Held, Requests: 50, Refused: 3, Failed: 2, CutOff: 1, Down: 280 * time.Second},
	}
	got, err := countsTable(rows, true)
	if err != nil {
		t.Fatal(err)
	}
	const want = `
identity  connections  requests  TLS or auth  other failures  cut off, retried  p50     p99      max        down for
admin     fresh        1000      0            0               0                 1.5 ms  20.0 ms  1000.0 ms  0s
admin     held         50        3            2               1                 0.0 ms  0.0 ms   0.0 ms     4m40s
all                    1050      3            2               1`
	if got != strings.TrimPrefix(want, "\n") {
		t.Errorf("the table is\n%s", got)
	}
	if got, err := countsTable(rows, false); err != nil || strings.Contains(got, "down") {
		t.Errorf("the table is\n%s\n%v", got, err)
	}
}

func TestPhasesTable(t *testing.T) {
	start := noon
	r := &rotation{}
	for _, step := range []struct {
		seconds  int
		phase    string
		required int32
	}{{0, "", 0}, {1, "DistributingTrust", 0}, {2, "DistributingTrust", 15}, {331, "Reissuing", 15}, {661, "WithdrawingTrust", 14}, {991, "", 0}, {999, "", 0}} {
		s := v1alpha1.RotationStatus{Phase: step.phase}
		if step.required > 0 {
			s.Gates = []v1alpha1.GateStatus{{Name: step.phase, Required: &step.required}}
		}
		r.enter(s, start.Add(time.Duration(step.seconds)*time.Second))
	}
	got, err := phasesTable(r.phases)
	const want = `
phase              took   acknowledged by
DistributingTrust  5m30s  15
Reissuing          5m30s  15
WithdrawingTrust   5m30s  14`
	if err != nil || got != strings.TrimPrefix(want, "\n") {
		t.Errorf("the table is\n%s\n%v", got, err)
	}
	if got, err := phasesTable(r.phases[:0:0]); err != nil || !strings.HasPrefix(got, "phase") {
		t.Errorf("without phases: %q, %v", got, err)
	}
}

func TestDescribeAndReplaced(t *testing.T) {
	var ca v1alpha1.ClusterCA
	ca.Generation, ca.Status.ObservedGeneration = 2, 1
	ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: "Signing"}}
	if replaced(ca) {
		t.Error("a CA that the operator has not looked at is said to be replaced")
	}
	ca.Status.ObservedGeneration = 2
	if replaced(ca) {
		t.Error("a CA with its first generation is said to be replaced")
	}
	ca.Status.Generations = append(ca.Status.Generations, v1alpha1.GenerationStatus{Number: 2, State: "Trusted"})
	ca.Status.Rotation = v1alpha1.RotationStatus{
		Phase: "DistributingTrust", PhaseTime: metav1.NewTime(noon), Acked: "1/4",
		Gates: []v1alpha1.GateStatus{{
			Name: "DistributingTrust", Acknowledged: new(int32(1)), Required: new(int32(4)),
			Pending: []string{"NodeCredential/a", "NodeCredential/b", "NodeCredential/c"},
		}},
	}
	const want = "DistributingTrust (g1 Signing, g2 Trusted) 1/4 acknowledged, waits for NodeCredential/a and 2 more"
	if got := describe(ca); got != want || replaced(ca) {
		t.Errorf("it is described as %q", got)
	}
	ca.Status.Rotation = v1alpha1.RotationStatus{}
	ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 2, State: "Signing"}}
	if !replaced(ca) {
		t.Error("a CA with one other generation is not said to be replaced")
	}
	ca.Status.Generations = append(ca.Status.Generations, v1alpha1.GenerationStatus{Number: 1, State: "Withdrawn"})
	if replaced(ca) {
		t.Error("a CA whose old key is still there is said to be replaced")
	}
}

func TestUnreadiness(t *testing.T) {
	var u unreadiness
	for _, look := range []struct {
		seconds int
		unready []string
		err     error
	}{
		{0, nil, nil}, {5, []string{"a"}, nil}, {10, []string{"a", "b"}, nil}, {15, nil, errors.New("no answer")},
		{20, nil, nil}, {40, nil, nil}, {50, []string{"c"}, nil}, {51, nil, nil},
	} {
		u.note(noon.Add(time.Duration(look.seconds)*time.Second), look.unready, look.err)
	}
	if want := (unreadiness{most: 2, total: 16 * time.Second, last: "c", looks: 8, unanswered: 1}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
}

// TestDeliverSamples: agents deliver everything but the CAs' own keys.
func TestDeliverSamples(t *testing.T) {
	s, err := loadManifests(config.Files, []string{"samples/clusterca.yaml", "samples/apiservercertificate.yaml", "samples/nodes.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.deliver(places{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range s {
		mode, found, err := unstructured.NestedString(o.Object, "spec", "delivery", "mode")
		if err != nil || found != (o.GetKind() != "ClusterCA") || found && mode != "Agent" {
			t.Errorf("%s %s: %q (%v)", o.GetKind(), o.GetName(), mode, err)
		}
	}
}
