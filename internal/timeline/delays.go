package timeline

import (
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	// KindUnknown stands, among the pending, for consumers that may not be there yet.
	KindUnknown = "Unknown"
	// kindCA is a subordinate CA.
	kindCA = v1alpha1.KindClusterCA
	// Settling is how long a phase lasts at least that no consumer is known for: their objects may not be there yet.
	Settling = 10 * time.Minute
)

// Consumer is an object that the rotation of a CA waits for, as far as the specs tell.
type Consumer struct {
	Kind, Name string
	// Trusts says that it verifies others with the CA's bundle, HasCertificate that it shows a certificate of it.
	Trusts, HasCertificate bool
	// Delivery is how its Secrets reach it; zero for a subordinate CA, which is rotated in phases of its own.
	Delivery v1alpha1.DeliverySpec
	// Probed says that the operator also looks at what it serves.
	Probed bool
}

// Asked are those of the consumers that a phase waits for. An emergency asks everybody at once.
func Asked(phase v1alpha1.Phase, emergency bool, consumers []Consumer) []Consumer {
	var out []Consumer
	for _, c := range consumers {
		trusts := phase != v1alpha1.PhaseReissuing && c.Trusts
		shows := (phase == v1alpha1.PhaseReissuing || phase == v1alpha1.PhaseWithdrawingTrust && emergency) && c.HasCertificate
		if trusts || shows {
			out = append(out, c)
		}
	}
	return out
}

// Least is how long a phase takes at least; asked are those that it waits for, and wave is how many of them may be
// on their way at one time. What a person, an agent or another rotation takes only makes it longer.
func Least(phase v1alpha1.Phase, asked []Consumer, wave int) time.Duration {
	if len(asked) == 0 {
		return Settling
	}
	if phase == v1alpha1.PhaseReissuing {
		return inWaves(asked, wave)
	}
	return longest(asked)
}

// WaveOf is how many of n certificates may be re-issued and not yet acknowledged at one time.
func WaveOf(limit *intstr.IntOrString, n int) int {
	if limit == nil {
		return max(1, n)
	}
	wave, err := intstr.GetScaledValueFromIntOrPercent(limit, n, true)
	if err != nil { // admission sees to it
		return max(1, n)
	}
	return max(1, min(wave, n))
}

func longest(consumers []Consumer) time.Duration {
	var d time.Duration
	for _, c := range consumers {
		d = max(d, delayOf(c))
	}
	return d
}

func inWaves(consumers []Consumer, wave int) time.Duration {
	n, shortest := 0, time.Duration(0)
	for _, c := range consumers {
		if d := delayOf(c); d > 0 {
			if n++; n == 1 || d < shortest {
				shortest = d
			}
		}
	}
	return max(longest(consumers), time.Duration(wavesOf(n, wave))*shortest)
}

// wavesOf is in how many waves n certificates are re-issued.
func wavesOf(n, wave int) int { return (n + wave - 1) / max(1, wave) }

// delayOf is how long a consumer takes at least; 0 where that is not known.
func delayOf(c Consumer) time.Duration {
	if c.Delivery.Mode != v1alpha1.DeliveryMounted {
		return 0
	}
	return c.Delivery.PropagationDelay.Duration
}
