package timeline

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// NameOf is how people call a consumer that is pending.
func NameOf(p v1alpha1.PendingConsumer) string {
	if p.Kind == KindUnknown {
		return "consumers that may not be there yet"
	}
	return p.Kind + "/" + p.Name
}

// Describe is a consumer that is pending, with its host and why it is.
func (r Rotation) Describe(p v1alpha1.PendingConsumer) string {
	text := NameOf(p)
	if p.Host != "" {
		text += " on " + p.Host
	}
	if p.Reason == "" || p.Kind == KindUnknown {
		return text
	}
	return text + " (" + r.Why(p) + ")"
}

// Why says why a consumer is pending, in a few words.
func (r Rotation) Why(p v1alpha1.PendingConsumer) string {
	if delay, known := r.delays[NameOf(p)]; known && p.Reason == v1alpha1.ReasonAssumed {
		return "assumed after " + duration.HumanDuration(delay)
	}
	return p.Reason
}

// delaysOf are after how long consumers that mount their Secrets are assumed to use them, by name.
func delaysOf(dependents []consumers.Dependent) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, d := range dependents {
		if d.Mounted {
			out[d.Kind+"/"+d.Name] = d.Delay
		}
	}
	return out
}

// Tally says how many have acknowledged, and how many count by a delay alone; "" where the operator has not counted them yet.
func (r Rotation) Tally() string {
	switch {
	case !r.Counted:
		return ""
	case r.Assumed > 0:
		return fmt.Sprintf("%d/%d acknowledged, %d assumed", r.Acknowledged, r.Required, r.Assumed)
	default:
		return fmt.Sprintf("%d/%d acknowledged", r.Acknowledged, r.Required)
	}
}

// Waiting are those that the rotation waits for, and how many more there are.
func (r Rotation) Waiting() []string {
	var out []string
	for _, p := range r.Pending {
		out = append(out, r.Describe(p))
	}
	if n := r.More(); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return out
}

// Edits are what people can write, or do, so that the rotation goes on. One approval is for all that is only assumed.
func (r Rotation) Edits() []string {
	if r.WithdrawalPending {
		return []string{fmt.Sprintf("once they use what their Secrets hold, set spec.rotation.approved.withdrawal of ClusterCA/%s to %q, or "+
			"spec.delivery.acceptAssumed of each of them to 'Always'", r.Name, r.ID)}
	}
	var out []string
	for _, p := range r.Pending {
		if p.Edit != "" {
			out = append(out, NameOf(p)+": "+p.Edit)
		}
	}
	return out
}
