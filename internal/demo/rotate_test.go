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

// rotating is a CA in the middle of a rotation.
func rotating(phase v1alpha1.Phase, required int32, phases ...v1alpha1.PhaseStatus) *v1alpha1.ClusterCA {
	var ca v1alpha1.ClusterCA
	ca.Status.Rotation = v1alpha1.RotationStatus{
		Phase: phase, From: 1, To: 2, StartTime: metav1.NewTime(noon), Phases: phases,
		Acknowledged: new(int32(1)), Required: &required, PendingCount: new(required - 1),
	}
	return &ca
}

// phaseOf is a phase that took some seconds after noon; end is 0 where it is not over.
func phaseOf(name v1alpha1.Phase, start, end int) v1alpha1.PhaseStatus {
	at := func(seconds int) metav1.Time { return metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second)) }
	p := v1alpha1.PhaseStatus{Name: name, State: v1alpha1.PhaseActive, StartTime: at(start)}
	if end > 0 {
		p.State, p.EndTime = v1alpha1.PhaseDone, at(end)
	}
	return p
}

func TestPhasesTable(t *testing.T) {
	r := &rotation{}
	first, second := phaseOf(v1alpha1.PhaseDistributingTrust, 1, 331), phaseOf(v1alpha1.PhaseReissuing, 331, 661)
	r.look(noon, rotating(v1alpha1.PhaseDistributingTrust, 15, phaseOf(v1alpha1.PhaseDistributingTrust, 1, 0)))
	r.look(noon, rotating(v1alpha1.PhaseReissuing, 15, first, phaseOf(v1alpha1.PhaseReissuing, 331, 0)))
	check := func(want string) {
		t.Helper()
		if got, err := phasesTable(r.progress, r.required); err != nil || got != strings.TrimPrefix(want, "\n") {
			t.Errorf("the table is\n%s\n%v", got, err)
		}
	}
	check(`
phase              took       acknowledged by
DistributingTrust  5m30s      15
Reissuing          under way  15
WithdrawingTrust   to come    `)
	r.look(noon, rotating(v1alpha1.PhaseWithdrawingTrust, 14, first, second, phaseOf(v1alpha1.PhaseWithdrawingTrust, 661, 0)))
	var done v1alpha1.ClusterCA
	done.Status.LastRotation = v1alpha1.LastRotationStatus{
		From: 1, To: 2, Result: v1alpha1.RotationCompleted, EndTime: metav1.NewTime(noon),
		Phases: []v1alpha1.PhaseStatus{first, second, phaseOf(v1alpha1.PhaseWithdrawingTrust, 661, 991)},
	}
	r.look(noon, &done)
	r.look(noon, &v1alpha1.ClusterCA{}) // a status that was lost
	check(`
phase              took   acknowledged by
DistributingTrust  5m30s  15
Reissuing          5m30s  15
WithdrawingTrust   5m30s  14`)
	r = &rotation{}
	check("phase  took  acknowledged by")
}

func TestDescribeAndRotated(t *testing.T) {
	var ca v1alpha1.ClusterCA
	ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: v1alpha1.GenerationActive}}
	if rotated(&ca) {
		t.Error("a CA with its first generation is said to be rotated")
	}
	under := rotating(v1alpha1.PhaseDistributingTrust, 4, phaseOf(v1alpha1.PhaseDistributingTrust, 1, 0))
	under.Status.Generations = append(ca.Status.Generations, v1alpha1.GenerationStatus{Number: 2, State: v1alpha1.GenerationTrusted})
	under.Status.Rotation.Pending = []v1alpha1.PendingConsumer{
		{Kind: "NodeCredential", Name: "a", Reason: "NotInUse"}, {Kind: "NodeCredential", Name: "b", Reason: "NotInUse"},
	}
	const want = "DistributingTrust (g1 Active, g2 Trusted) 1/4 acknowledged, waits for NodeCredential/a (NotInUse) and 2 more"
	if got := describe(noon, under); got != want || rotated(under) {
		t.Errorf("it is described as %q", got)
	}
	ca.Status.LastRotation.Result = v1alpha1.RotationCompleted
	if !rotated(&ca) {
		t.Error("a CA whose rotation is completed is not said to be rotated")
	}
	under.Status.LastRotation.Result = v1alpha1.RotationCompleted
	if rotated(under) {
		t.Error("a CA of which another rotation is under way is said to be rotated")
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
	s, err := loadManifests(config.Files, []string{"samples/clusterca.yaml", "samples/serviceaccountkey.yaml", "samples/apiservercertificate.yaml", "samples/nodes.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.deliver(places{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range s {
		mode, found, err := unstructured.NestedString(o.Object, "spec", "delivery", "mode")
		if err != nil || found != (o.GetKind() == "APIServerCertificate" || o.GetKind() == "NodeCredential") || found && mode != "Agent" {
			t.Errorf("%s %s: %q (%v)", o.GetKind(), o.GetName(), mode, err)
		}
	}
}
