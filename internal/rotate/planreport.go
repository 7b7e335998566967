package rotate

import (
	"encoding/json"

	"clusterpki.io/operator/internal/status"
)

// PlanReport is what `clusterpki rotate -o json` prints. Fields are added to it, and none is renamed.
type PlanReport struct {
	status.Header
	// ObjectKind is 'ServiceAccountKey'; absent for a ClusterCA.
	ObjectKind string `json:"objectKind,omitempty"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	// Generation is the active one; of a ServiceAccountKey, the number of the key that signs.
	Generation int32 `json:"generation,omitempty"`
	// Trigger is the value for spec.rotation.trigger, and Patch the change of the ClusterCA that sets it (a merge patch).
	Trigger string          `json:"trigger"`
	Patch   json.RawMessage `json:"patch"`
	// Applied says that it was set.
	Applied bool          `json:"applied"`
	Phases  []PhaseReport `json:"phases"`
	// LeastSeconds is the shortest that it can take.
	LeastSeconds int64 `json:"leastSeconds"`
	// Manual are those that a person has to acknowledge for, Probed those that the operator also probes.
	Manual []string `json:"manual,omitempty"`
	Probed []string `json:"probed,omitempty"`
	// Assumed are those for whom it stops before the withdrawal, until a person accepts what is only assumed of them.
	Assumed  []string `json:"assumed,omitempty"`
	Warnings []string `json:"warnings"`
}

// PhaseReport is one phase.
type PhaseReport struct {
	Phase string `json:"phase"`
	Does  string `json:"does"`
	// Consumers is for how many it waits, LeastSeconds how long at least.
	Consumers    int   `json:"consumers"`
	LeastSeconds int64 `json:"leastSeconds"`
}

// Report is the plan for programs.
func (p Plan) Report(applied bool) (PlanReport, error) {
	patch, err := Patch(p.Trigger, "")
	if err != nil {
		return PlanReport{}, err
	}
	r := PlanReport{
		Header: status.HeaderOf("RotationPlan"), Namespace: p.CA.Namespace, Name: p.CA.Name, Generation: p.CA.Status.Certificate.IssuerGeneration,
		Trigger: p.Trigger, Patch: patch, Applied: applied, LeastSeconds: int64(p.Least.Seconds()),
		Manual: p.Manual, Probed: p.Probed, Assumed: p.Assumed, Warnings: append([]string{}, p.Warnings...),
	}
	for _, phase := range p.Phases {
		r.Phases = append(r.Phases, PhaseReport{string(phase.Phase), phase.Does, phase.Waits, int64(phase.Least.Seconds())})
	}
	return r, nil
}
