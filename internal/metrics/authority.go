package metrics

import (
	"slices"
	"strconv"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// The metrics of ClusterCAs.
var (
	generationExpiry = describe("ca_generation_expiration_timestamp_seconds",
		"When the certificate of one generation of a ClusterCA expires.", "namespace", "name", "generation")
	generationRenewal = describe("ca_generation_renewal_timestamp_seconds",
		"When the generation of a ClusterCA that signs is to be replaced. The others are on their way in or out.", "namespace", "name", "generation")
	generationState = describe("ca_generation_state",
		"1 for the state that a generation of a ClusterCA is in.", "namespace", "name", "generation", "state")
	trustRevision = describe("ca_trust_revision",
		"The revision of the trust bundle that a ClusterCA publishes.", "namespace", "name")
	rotationPhase = describe("rotation_phase",
		"1 for the phase that the replacement of a ClusterCA is in, 0 for the others; Completed: it is not being replaced.", "namespace", "name", "phase")
	rotationStart = describe("rotation_start_timestamp_seconds",
		"When the replacement of a ClusterCA that is under way began.", "namespace", "name")
	phaseStart = describe("rotation_phase_start_timestamp_seconds",
		"When the present phase of the replacement of a ClusterCA began.", "namespace", "name", "phase")
	rotationTimeout = describe("rotation_timeout_seconds",
		"How long a phase may last before the condition RotationBlocked says so.", "namespace", "name")
	pendingAcks = describe("rotation_acknowledgments_pending",
		"How many of those that the present phase waits for have not acknowledged.", "namespace", "name", "phase")
	requiredAcks = describe("rotation_acknowledgments_required",
		"How many have to acknowledge in the present phase.", "namespace", "name", "phase")
)

// authority tells what a ClusterCA alone has. A status can be written by others too: states and phases that there are not
// are left out.
func (s *scrape) authority(ca *v1alpha1.ClusterCA) {
	for _, g := range ca.Status.Generations {
		number := strconv.Itoa(int(g.Number))
		s.time(generationExpiry, g.NotAfter, ca.Namespace, ca.Name, number)
		if g.State == string(plan.Signing) {
			s.time(generationRenewal, ca.Status.Certificate.RenewalTime, ca.Namespace, ca.Name, number)
		}
		if slices.Contains(plan.States, plan.State(g.State)) {
			s.gauge(generationState, 1, ca.Namespace, ca.Name, number, g.State)
		}
	}
	if r := ca.Status.Trust.Revision; r > 0 {
		s.gauge(trustRevision, float64(r), ca.Namespace, ca.Name)
	}
	s.gauge(rotationTimeout, ca.Spec.Rotation.Timeout.Seconds(), ca.Namespace, ca.Name)
	r := ca.Status.Rotation
	present := plan.Completed
	if r.Phase != "" {
		present = plan.Phase(r.Phase)
		s.time(rotationStart, r.StartTime, ca.Namespace, ca.Name)
		if slices.Contains(plan.Phases, present) {
			s.time(phaseStart, r.PhaseTime, ca.Namespace, ca.Name, r.Phase)
		}
	}
	for _, phase := range plan.Phases {
		s.gauge(rotationPhase, truth(phase == present), ca.Namespace, ca.Name, string(phase))
	}
	for _, g := range r.Gates {
		if g.Required == nil || g.Acknowledged == nil || !slices.Contains(plan.Phases, plan.Phase(g.Name)) {
			continue
		}
		s.gauge(requiredAcks, float64(*g.Required), ca.Namespace, ca.Name, g.Name)
		s.gauge(pendingAcks, float64(max(0, *g.Required-*g.Acknowledged)), ca.Namespace, ca.Name, g.Name)
	}
}
