package timeline

import (
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// KindUnknown stands, among the pending, for consumers that may not be there yet.
const KindUnknown = "Unknown"

// Least is how long a phase takes at least; asked are those that it waits for, and wave is how many of them may be
// on their way at one time. What a person, an agent or another rotation takes only makes it longer.
func Least(phase v1alpha1.Phase, asked []consumers.Dependent, wave int) time.Duration {
	if len(asked) == 0 {
		return consumers.Settling
	}
	if phase == v1alpha1.PhaseReissuing {
		return inWaves(asked, wave)
	}
	return longest(asked)
}

// WaveOf is how many of n certificates may be re-issued and not yet acknowledged at one time.
func WaveOf(limit *intstr.IntOrString, n int) int {
	if wave := consumers.MaxUnavailable(limit, n); wave > 0 {
		return max(1, min(wave, n))
	}
	return max(1, n)
}

func longest(all []consumers.Dependent) time.Duration {
	var d time.Duration
	for _, c := range all {
		d = max(d, delayOf(c))
	}
	return d
}

func inWaves(all []consumers.Dependent, wave int) time.Duration {
	n, shortest := 0, time.Duration(0)
	for _, c := range all {
		if d := delayOf(c); d > 0 {
			if n++; n == 1 || d < shortest {
				shortest = d
			}
		}
	}
	return max(longest(all), time.Duration(wavesOf(n, wave))*shortest)
}

// wavesOf is in how many waves n certificates are re-issued.
func wavesOf(n, wave int) int { return (n + wave - 1) / max(1, wave) }

// delayOf is how long a consumer takes at least; 0 where that is not known.
func delayOf(c consumers.Dependent) time.Duration {
	if !c.Mounted {
		return 0
	}
	return c.Delay
}
