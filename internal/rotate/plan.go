package rotate

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

// Plan is what a rotation of a CA would take, as far as specs and status tell.
type Plan struct {
	CA      *v1alpha1.ClusterCA
	Trigger string // to set
	Phases  []PhasePlan
	// Least is the shortest that it can take.
	Least time.Duration
	// Manual are those whose acknowledgment a person has to state.
	Manual []string
	// Probed are those that the operator also probes.
	Probed []string
	// Assumed are those for whom it stops before the withdrawal, until a person accepts what is only assumed of them.
	Assumed []string
	// Warnings are what would hold it up, or break something.
	Warnings []string
}

// PhasePlan is one phase.
type PhasePlan struct {
	Phase   v1alpha1.Phase
	Does    string
	Waits   int // for so many consumers
	Least   time.Duration
	Remarks string
}

// NewPlan says what rotating a CA takes; objects are those of its namespace.
func NewPlan(now time.Time, ca *v1alpha1.ClusterCA, objects status.Objects, trigger string) Plan {
	p := Plan{CA: ca, Trigger: trigger}
	dependents := objects.ConsumersOf(ca.Name)
	for _, c := range dependents {
		if c.Manual {
			p.Manual = append(p.Manual, c.Kind+"/"+c.Name)
		}
		if c.Probed {
			p.Probed = append(p.Probed, c.Kind+"/"+c.Name)
		}
		if c.Mounted && !c.Proved && !c.AcceptsAssumed && p.overlaps() {
			p.Assumed = append(p.Assumed, c.Kind+"/"+c.Name)
		}
	}
	p.phases(dependents)
	for _, phase := range p.Phases {
		p.Least += phase.Least
	}
	p.warn(now, objects, consumers.Asked(v1alpha1.PhaseReissuing, false, dependents))
	return p
}

func (p *Plan) phases(dependents []consumers.Dependent) {
	spec := p.CA.Spec.Rotation
	switch {
	case p.emergency():
		p.add(v1alpha1.PhaseWithdrawingTrust, dependents, "a new key is made; the new CA signs and is trusted alone at once", "then the old key is deleted")
	case spec.KeyPolicy == v1alpha1.KeyReuse:
		p.add(v1alpha1.PhaseWithdrawingTrust, dependents, "a new certificate of the same key takes the place of the old one", "what was issued stays valid")
	default:
		remarks := ""
		n := len(consumers.Asked(v1alpha1.PhaseReissuing, false, dependents))
		if wave := timeline.WaveOf(spec.MaxUnavailable, n); wave < n {
			remarks = fmt.Sprintf("%d at a time", wave)
		}
		p.add(v1alpha1.PhaseDistributingTrust, dependents, "a new key is made; both CAs are trusted, the old one signs", "")
		p.add(v1alpha1.PhaseReissuing, dependents, "the new CA signs, and every certificate is re-issued", remarks)
		p.add(v1alpha1.PhaseWithdrawingTrust, dependents, "the new CA is trusted alone", "then the old key is deleted")
	}
}

// add plans a phase.
func (p *Plan) add(phase v1alpha1.Phase, dependents []consumers.Dependent, does, remarks string) {
	asked := consumers.Asked(phase, p.emergency(), dependents)
	least := timeline.Least(phase, asked, timeline.WaveOf(p.CA.Spec.Rotation.MaxUnavailable, len(asked)))
	p.Phases = append(p.Phases, PhasePlan{phase, does, len(asked), least, remarks})
}

// overlaps says whether the old CA is trusted beside the new one until nothing needs it.
func (p *Plan) overlaps() bool {
	return !p.emergency() && p.CA.Spec.Rotation.KeyPolicy != v1alpha1.KeyReuse
}

// emergency says whether the rotation that the trigger starts goes without overlap.
func (p *Plan) emergency() bool {
	spec := p.CA.Spec.Rotation
	spec.Trigger = p.Trigger
	return spec.Trigger != "" && spec.EmergencyTrigger == spec.Trigger
}

// warn notes what would hold the rotation up, or break something.
func (p *Plan) warn(now time.Time, objects status.Objects, holders []consumers.Dependent) {
	ca := p.CA
	add := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	if ca.Spec.Source.IsImport() {
		add("the CA is imported: a trigger by itself does not rotate it; put another CA into Secret %q, "+
			"and name it in spec.source.import.certificateSHA256 and rootSHA256",
			ca.Spec.Source.Import.SecretRef.Name)
	}
	if p.emergency() {
		add("spec.rotation.emergencyTrigger is the same text: the present CA is distrusted at once, and all %d holders of its certificates "+
			"stop working until new ones are delivered; for a rotation that nobody notices choose another trigger", len(holders))
	}
	switch phase := ca.Status.Rotation.Phase; phase {
	case "":
	case v1alpha1.PhaseDistributingTrust:
		add("a rotation is under way (%s): another trigger rolls it back and begins another one", phase)
	default:
		add("a rotation is under way (%s): another trigger makes one more follow it", phase)
	}
	if tool, mark := GitOps(ca); tool != "" {
		add("%s keeps this object as it is in Git (%s): change the field there; what is changed in the cluster may be reverted, "+
			"and the rotation with it", tool, mark)
	}
	for _, c := range holders {
		if c.Kind == status.KindClusterCA {
			add("ClusterCA/%s is signed by this CA: it is rotated too, in phases of its own that take their own time", c.Name)
		}
	}
	mine := map[string]bool{status.KindClusterCA + "/" + ca.Name: true}
	for _, c := range objects.ConsumersOf(ca.Name) {
		mine[c.Kind+"/"+c.Name] = true
	}
	if c := meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.RotationBlockedCondition); c != nil && c.Status == metav1.ConditionTrue {
		add("it is blocked: %s", c.Message)
	}
	for _, problem := range status.Build(now, objects, "").Problems {
		name := problem.Kind + "/" + problem.Name
		blocking := []string{"NotReady", "Expired", "Unknown", "Outdated", v1alpha1.StalledCondition}
		if mine[name] && problem.Severity == status.Error && slices.Contains(blocking, problem.Reason) {
			add("%s may hold it up: %s: %s", name, problem.Reason, problem.Message)
		}
	}
}
