package consumers

import (
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/internal/pki/plan"
)

// Settling is how long a phase lasts at least that no consumer is known for: their objects may not be there yet.
const Settling = plan.Settling

// MaxUnavailable is how many of n leaves may be re-issued and not yet acknowledged at one time; 0: all.
func MaxUnavailable(limit *intstr.IntOrString, n int) int {
	if limit == nil {
		return 0
	}
	of, err := intstr.GetScaledValueFromIntOrPercent(limit, n, true)
	if err != nil { // admission sees to it
		return 0
	}
	return max(1, of)
}
