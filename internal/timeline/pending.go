package timeline

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/shell"
)

// Progress is how many consumers have acknowledged, and who has not.
type Progress struct {
	// Acknowledged of the Required consumers have, and Assumed count because a delay has passed; Counted is false where the
	// operator has not counted them yet.
	Acknowledged, Assumed, Required int32
	Counted                         bool
	// Pending are the first of those that have not, PendingCount is how many there are.
	Pending      []v1alpha1.PendingConsumer
	PendingCount int32
	// delays are after how long those that mount their Secrets are assumed to use them, by name.
	delays map[string]time.Duration
}

// More is how many consumers are pending that are not named.
func (r Progress) More() int { return int(r.PendingCount) - len(r.Pending) }

// Waits says whether a consumer is named among the pending ones.
func (r Progress) Waits(kind, name string) bool {
	return slices.ContainsFunc(r.Pending, func(p v1alpha1.PendingConsumer) bool { return p.Kind == kind && p.Name == name })
}

// NameOf is how people call a consumer that is pending.
func NameOf(p v1alpha1.PendingConsumer) string {
	if p.Kind == KindUnknown {
		return "consumers that may not be there yet"
	}
	return p.Kind + "/" + p.Name
}

// Describe is a consumer that is pending, with its host and why it is.
func (r Progress) Describe(p v1alpha1.PendingConsumer) string {
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
func (r Progress) Why(p v1alpha1.PendingConsumer) string {
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
func (r Progress) Tally() string {
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
func (r Progress) Waiting() []string {
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
		return []string{fmt.Sprintf("once they use what their Secrets hold, set spec.rotation.approved.withdrawal of ClusterCA/%s to %s, or "+
			"spec.delivery.acceptAssumed of each of them to 'Always'", r.Name, shell.Quote(r.ID))}
	}
	return r.Progress.Edits()
}

// Edits are what people can write, or do, so that those that are pending acknowledge.
func (r Progress) Edits() []string {
	var out []string
	for _, p := range r.Pending {
		if p.Edit != "" {
			out = append(out, NameOf(p)+": "+p.Edit)
		}
	}
	return out
}
