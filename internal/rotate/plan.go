package rotate

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/status"
)

// Plan is what a replacement of a CA would take, as far as specs and status tell.
type Plan struct {
	CA       *v1alpha1.ClusterCA
	Revision string // to set
	Phases   []PhasePlan
	// Least is the shortest that it can take.
	Least time.Duration
	// Manual are those whose acknowledgment a person has to state.
	Manual []string
	// Probed are those that the operator also looks at.
	Probed []string
	// Warnings are what would hold it up, or break something.
	Warnings []string
}

// PhasePlan is one phase.
type PhasePlan struct {
	Phase   plan.Phase
	Does    string
	Waits   int // for so many consumers
	Least   time.Duration
	Remarks string
}

// NewPlan says what replacing a CA takes; objects are those of its namespace.
func NewPlan(now time.Time, ca *v1alpha1.ClusterCA, objects status.Objects, revision string) Plan {
	p := Plan{CA: ca, Revision: revision}
	var trusting, holding []status.Consumer
	for _, c := range objects.ConsumersOf(ca.Name) {
		if c.Trusts {
			trusting = append(trusting, c)
		}
		if c.HasCertificate {
			holding = append(holding, c)
		}
		if c.Delivery.Mode == v1alpha1.DeliveryManual {
			p.Manual = append(p.Manual, c.Kind+"/"+c.Name)
		}
		if c.Probed {
			p.Probed = append(p.Probed, c.Kind+"/"+c.Name)
		}
	}
	p.phases(trusting, holding)
	for _, phase := range p.Phases {
		p.Least += phase.Least
	}
	p.warn(now, objects, holding)
	return p
}

func (p *Plan) phases(trusting, holding []status.Consumer) {
	spec := p.CA.Spec.Rotation
	trust := longest(trusting)
	prepare := PhasePlan{Phase: plan.Preparing, Does: "a new key is made"}
	withdraw := PhasePlan{
		Phase: plan.WithdrawingTrust, Does: "the new CA is trusted alone", Waits: len(trusting), Least: trust, Remarks: "then the old key is deleted",
	}
	switch {
	case spec.Mode == v1alpha1.RotationEmergency:
		withdraw.Does = "the new CA signs and is trusted alone at once"
		p.Phases = []PhasePlan{prepare, withdraw}
	case spec.KeyPolicy == v1alpha1.KeyReuse:
		prepare.Does = "the key gets a certificate with new dates"
		withdraw.Does = "the new certificate is published in place of the old one"
		withdraw.Remarks = "what was issued stays valid"
		p.Phases = []PhasePlan{prepare, withdraw}
	default:
		wave := waveOf(spec.MaxUnavailable, len(holding))
		reissue := PhasePlan{
			Phase: plan.Reissuing, Does: "the new CA signs, and every certificate is issued again", Waits: len(holding), Least: inWaves(holding, wave),
		}
		if wave < len(holding) {
			reissue.Remarks = fmt.Sprintf("%d at a time", wave)
		}
		p.Phases = []PhasePlan{
			prepare,
			{Phase: plan.DistributingTrust, Does: "both CAs are trusted, the old one signs", Waits: len(trusting), Least: trust},
			reissue, withdraw,
		}
	}
}

// longest is how long the slowest of the consumers takes at least: nobody at all is waited for, for a while.
func longest(consumers []status.Consumer) time.Duration {
	if len(consumers) == 0 {
		return plan.Settling
	}
	var d time.Duration
	for _, c := range consumers {
		d = max(d, delayOf(c))
	}
	return d
}

// inWaves is how long it takes at least when so many are on their way at one time. Those that take a time that is not
// known only make it longer.
func inWaves(consumers []status.Consumer, wave int) time.Duration {
	n, shortest := 0, time.Duration(0)
	for _, c := range consumers {
		if d := delayOf(c); d > 0 {
			if n++; n == 1 || d < shortest {
				shortest = d
			}
		}
	}
	waves := (n + wave - 1) / wave
	return max(longest(consumers), time.Duration(waves)*shortest)
}

// delayOf is how long a consumer takes at least: what a person or another replacement takes is not known.
func delayOf(c status.Consumer) time.Duration {
	if c.Delivery.Mode != v1alpha1.DeliveryMounted {
		return 0
	}
	return c.Delivery.PropagationDelay.Duration
}

// waveOf is how many of the certificates may be issued again and not yet acknowledged at one time.
func waveOf(limit *intstr.IntOrString, n int) int {
	if limit == nil {
		return max(1, n)
	}
	wave, err := intstr.GetScaledValueFromIntOrPercent(limit, n, true)
	if err != nil { // admission sees to it
		return max(1, n)
	}
	return max(1, min(wave, n))
}

// warn notes what would hold the replacement up, or break something.
func (p *Plan) warn(now time.Time, objects status.Objects, holding []status.Consumer) {
	ca := p.CA
	add := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	if ca.Spec.Source.IsImport() {
		add("the CA is imported: another revision takes the same CA again; to replace it, put another one into Secret %q",
			ca.Spec.Source.Import.SecretRef.Name)
	}
	if ca.Spec.Rotation.Mode == v1alpha1.RotationEmergency {
		add("mode is 'Emergency': the present CA is distrusted at once, and all %d holders of its certificates stop working "+
			"until what replaces them is delivered; for a replacement that nobody notices set spec.rotation.mode to 'Safe'", len(holding))
	}
	switch phase := plan.Phase(ca.Status.Rotation.Phase); phase {
	case "":
	case plan.Preparing, plan.DistributingTrust:
		add("a replacement is under way (%s): another revision gives it up and begins anew", phase)
	default:
		add("a replacement is under way (%s): another revision makes one more follow it", phase)
	}
	if tool, mark := GitOps(ca); tool != "" {
		add("%s keeps this object as it is in Git (%s): change the field there; what is changed in the cluster may be reverted, "+
			"and the replacement with it", tool, mark)
	}
	for _, c := range holding {
		if c.Kind == status.KindClusterCA {
			add("ClusterCA/%s is signed by this CA: it is replaced too, in phases of its own that take their own time", c.Name)
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
