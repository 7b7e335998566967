package metrics

import (
	"slices"
	"strconv"

	"clusterpki.io/operator/api/v1alpha1"
)

// The metrics of ClusterCAs.
var (
	generationExpiry = describe("ca_generation_expiration_timestamp_seconds",
		"When the certificate of one generation of a ClusterCA expires.", "namespace", "name", "generation")
	generationRenewal = describe("ca_generation_renewal_timestamp_seconds",
		"When the active generation of a ClusterCA is to be rotated. The others are on their way in or out.", "namespace", "name", "generation")
	generationState = describe("ca_generation_state",
		"1 for the state that a generation of a ClusterCA is in.", "namespace", "name", "generation", "state")
	bundleRevision = describe("ca_bundle_revision",
		"The revision of the trust bundle that a ClusterCA publishes.", "namespace", "name")
	rotationPhase = describe("rotation_phase",
		"1 for the phase that the rotation of a ClusterCA is in, 0 for the others; Completed: it is not being rotated.", "namespace", "name", "phase")
	rotationStart = describe("rotation_start_timestamp_seconds",
		"When the rotation of a ClusterCA that is under way began.", "namespace", "name")
	phaseStart = describe("rotation_phase_start_timestamp_seconds",
		"When the present phase of the rotation of a ClusterCA began.", "namespace", "name", "phase")
	rotationProgressDeadline = describe("rotation_progress_deadline_seconds",
		"How long a phase may last before the condition RotationBlocked says so.", "namespace", "name")
	pendingAcks = describe("rotation_acknowledgments_pending",
		"How many the present phase waits for: they have not acknowledged, or are only assumed to have what a withdrawal needs.", "namespace", "name", "phase")
	assumedAcks = describe("rotation_acknowledgments_assumed",
		"How many have acknowledged nothing in the present phase, and count because a delay has passed.", "namespace", "name", "phase")
	requiredAcks = describe("rotation_acknowledgments_required",
		"How many have to acknowledge in the present phase.", "namespace", "name", "phase")
)

// authority tells what a ClusterCA alone has. A status can be written by others too: states and phases that there are not
// are left out.
func (s *scrape) authority(ca *v1alpha1.ClusterCA) {
	for _, g := range ca.Status.Generations {
		number := strconv.Itoa(int(g.Number))
		s.time(generationExpiry, g.NotAfter, ca.Namespace, ca.Name, number)
		if g.State == v1alpha1.GenerationActive {
			s.time(generationRenewal, ca.Status.Certificate.RenewalTime, ca.Namespace, ca.Name, number)
		}
		if slices.Contains(generationStates, g.State) {
			s.gauge(generationState, 1, ca.Namespace, ca.Name, number, string(g.State))
		}
	}
	if r := ca.Status.Trust.BundleRevision; r > 0 {
		s.gauge(bundleRevision, float64(r), ca.Namespace, ca.Name)
	}
	s.gauge(rotationProgressDeadline, ca.Spec.Rotation.ProgressDeadline.Seconds(), ca.Namespace, ca.Name)
	s.rotation(ca)
}

// rotation tells of the rotation that is under way.
func (s *scrape) rotation(ca *v1alpha1.ClusterCA) {
	r, present := ca.Status.Rotation, v1alpha1.PhaseCompleted
	if r.Phase != "" {
		present = r.Phase
		s.time(rotationStart, r.StartTime, ca.Namespace, ca.Name)
	}
	for _, phase := range append(v1alpha1.Phases(), v1alpha1.PhaseCompleted) {
		s.gauge(rotationPhase, truth(phase == present), ca.Namespace, ca.Name, string(phase))
	}
	if !slices.Contains(v1alpha1.Phases(), r.Phase) {
		return
	}
	for _, p := range r.Phases {
		if p.Name == r.Phase {
			s.time(phaseStart, p.StartTime, ca.Namespace, ca.Name, string(p.Name))
		}
	}
	if r.Required != nil {
		s.gauge(requiredAcks, float64(*r.Required), ca.Namespace, ca.Name, string(r.Phase))
	}
	if r.Assumed != nil {
		s.gauge(assumedAcks, float64(*r.Assumed), ca.Namespace, ca.Name, string(r.Phase))
	}
	if r.PendingCount != nil {
		s.gauge(pendingAcks, float64(*r.PendingCount), ca.Namespace, ca.Name, string(r.Phase))
	}
}

// generationStates are all that the label 'state' of a generation may say.
var generationStates = []v1alpha1.GenerationState{
	v1alpha1.GenerationTrusted, v1alpha1.GenerationActive, v1alpha1.GenerationRetiring, v1alpha1.GenerationWithdrawn,
}
