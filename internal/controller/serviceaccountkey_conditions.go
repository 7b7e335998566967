package controller

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/accounts"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/pki/plan"
)

const (
	// removalNotice is how long before a key leaves sa.pub the condition KeyRemovalDue says so.
	removalNotice = 30 * 24 * time.Hour
	// blockedAfter is how long a phase may wait for an API server before the condition RotationBlocked says so.
	blockedAfter = time.Hour
)

// announceKeyStep says what a step of the ledger did.
func (r *serviceAccountKeys) announceKeyStep(o *v1alpha1.ServiceAccountKey, st accounts.State) {
	if !st.Moved() {
		return
	}
	if rotation := st.Step.To.Rotation; st.Step.Transition == keyring.Publish && rotation != nil {
		r.counts.Issued(o.Kind(), string(rotation.Cause))
	}
	r.events.Eventf(o, nil, corev1.EventTypeNormal, string(st.Step.Transition), "Rotate", "%s", keyStepNote(st.Step))
}

// keyStepNote is the text of a step's event.
func keyStepNote(s accounts.Step) string {
	r := keyring.Rotation{}
	if now := cmp.Or(s.To.Rotation, s.From.Rotation); now != nil {
		r = *now
	}
	switch s.Transition {
	case keyring.Publish:
		return fmt.Sprintf("Another key is wanted (%s): key %d is trusted beside key %d, which signs until every API server trusts both", r.Cause, r.To, r.From)
	case keyring.Switch:
		return fmt.Sprintf("Every API server is known or assumed to trust key %d: it is brought to each, to sign", r.To)
	case keyring.Complete:
		return fmt.Sprintf("Every API server is known or assumed to sign by key %d: the private half of key %d was deleted, and its tokens stay valid for "+
			"spec.retainOldKeyFor", r.To, r.From)
	case keyring.Withdraw:
		return fmt.Sprintf("The time of %s is over: its tokens are refused by each API server that is brought the present keys",
			keyNumbers(s.To, keyring.Withdrawn))
	case keyring.Forget:
		return fmt.Sprintf("No API server trusts %s any more", keyNumbers(s.From, keyring.Withdrawn))
	case keyring.Rollback:
		return fmt.Sprintf("Key %d is no longer wanted, and has signed nothing: the rotation is rolled back", r.To)
	default:
		return string(s.Transition)
	}
}

// keyNumbers names the keys in a state.
func keyNumbers(l keyring.Ledger, s keyring.State) string {
	var out []string
	for _, k := range l.Keys {
		if k.State == s {
			out = append(out, fmt.Sprintf("key %d", k.Number))
		}
	}
	return strings.Join(out, ", ")
}

// keyConditions are the conditions that tell of a rotation, and of keys that leave.
func keyConditions(r accounts.Reading, l keyring.Ledger) []metav1.Condition {
	var out []metav1.Condition
	add := func(kind, reason, message string) {
		if reason != "" {
			out = append(out, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message})
		}
	}
	switch l.Phase() {
	case keyring.DistributingTrust:
		add(v1alpha1.RotatingCondition, string(v1alpha1.KeyDistributingTrust), "the new key is brought to every API server, to be trusted; the old one signs")
	case keyring.SwitchingSigner:
		add(v1alpha1.RotatingCondition, string(v1alpha1.KeySwitchingSigner), "the new key is brought to every API server, to sign; both are trusted")
	}
	reason, message := blockedKeys(r, l)
	add(v1alpha1.RotationBlockedCondition, reason, message)
	k, retiring := l.NextRemoval()
	if !retiring || l.Rotation != nil {
		return out
	}
	held := k.Held(r.Inputs)
	if held == keyring.Assumed {
		add(v1alpha1.WithdrawalPendingCondition, v1alpha1.ReasonAssumed, withdrawalOfKey(r, k))
	}
	if until := k.RetainUntil(r.Inputs.Retain); !r.Now.Before(until.Add(-removalNotice)) {
		reason, message := keyRemovalDue(r, k, held, until)
		add(v1alpha1.KeyRemovalDueCondition, reason, message)
	}
	return out
}

// blockedKeys says why a rotation that is due, or under way, waits for something that does not come by itself; no reason: it does not.
func blockedKeys(r accounts.Reading, l keyring.Ledger) (reason, message string) {
	cause := string(l.Cause(r.Now, r.Inputs.Trigger, r.Inputs.RotateEvery))
	reason = string(l.Phase())
	if reason == "" {
		reason = cause
	}
	switch {
	case reason == "":
		return "", ""
	case l.Full(r.Inputs):
		return reason, fmt.Sprintf("a rotation is due, and there are %d keys already, as many as there may be: it begins once one has left", keyring.MaxKeys)
	case len(r.Users) == 0:
		return reason, "it waits: no APIServerCertificate names this key in spec.serviceAccountKeyRef, so that nobody knows which API servers use it"
	case !r.Inputs.Arrived() && r.Now.Sub(sinceOf(l)) > blockedAfter:
		return reason, fmt.Sprintf("it has waited for longer than %.0f minutes, and skips nobody; it waits for %s",
			blockedAfter.Minutes(), names(awaitedUsers(r)))
	default:
		return "", ""
	}
}

// sinceOf is since when what is published is as it is.
func sinceOf(l keyring.Ledger) time.Time {
	since := l.Published
	for _, k := range l.Keys {
		if k.Since.After(since) {
			since = k.Since
		}
	}
	return since
}

// awaitedUsers are those that do not use what is published, for messages.
func awaitedUsers(r accounts.Reading) []plan.Consumer {
	var out []plan.Consumer
	for _, u := range r.Users {
		if !u.HasPublication {
			out = append(out, plan.Consumer{Kind: v1alpha1.KindAPIServerCertificate, Name: u.Name, Reason: u.Reason})
		}
	}
	return out
}

// pendingKeyUser says why an API server does not use what is published.
func pendingKeyUser(st accounts.State, u consumers.KeyUser) v1alpha1.PendingConsumer {
	since := u.Since
	if since.IsZero() {
		since = sinceOf(st.Record.Ledger)
	}
	return v1alpha1.PendingConsumer{
		Kind: v1alpha1.KindAPIServerCertificate, Name: u.Name, Host: u.Host, Reason: u.Reason, Since: metav1.NewTime(since.UTC().Truncate(time.Second)),
		Edit: st.Read.KeyEdit(u),
	}
}

// withdrawalOfKey says who has to accept what before a key leaves.
func withdrawalOfKey(r accounts.Reading, k keyring.Key) string {
	var assumed []plan.Consumer
	for _, u := range r.Users {
		if u.Assumed && !u.AcceptsAssumed {
			assumed = append(assumed, plan.Consumer{Kind: v1alpha1.KindAPIServerCertificate, Name: u.Name})
		}
	}
	return fmt.Sprintf("the time of key %d is over, and it stays trusted: before it leaves, a person has to accept what is only assumed: that these use what "+
		"their Secret holds: %s. Once that is so, set spec.delivery.acceptAssumed of each of them to 'Always'", k.Number, names(assumed))
}

// keyRemovalDue says when a key leaves, and what keeps it.
func keyRemovalDue(r accounts.Reading, k keyring.Key, held keyring.Hold, until time.Time) (reason, message string) {
	date := until.UTC().Format(time.RFC3339)
	const accept = "To let tokens end with it, name their Secrets in spec.acceptTokenLoss ('*' for all)"
	tokens := "no API server has listed the tokens that never end, those in Secrets of type kubernetes.io/service-account-token"
	if t := r.Tokens; t.Listed {
		tokens = fmt.Sprintf("%d Secrets of type kubernetes.io/service-account-token are older than the active key, and may need it: %s",
			t.Left, firstNames(t.Names, t.Left))
	}
	switch held {
	case keyring.TokensUnlisted:
		return v1alpha1.ReasonTokensUnlisted, fmt.Sprintf("key %d was to leave at %s, and stays trusted: %s. %s", k.Number, date, tokens, accept)
	case keyring.TokensLeft:
		return v1alpha1.ReasonTokensLeft, fmt.Sprintf("key %d was to leave at %s, and stays trusted: %s. Replace these tokens, and delete the Secrets. %s",
			k.Number, date, tokens, accept)
	default:
		if r.Tokens.Listed && r.Tokens.Left == 0 {
			return v1alpha1.ReasonKeyRetained, fmt.Sprintf("key %d leaves at %s: tokens that it has signed are refused from then on", k.Number, date)
		}
		return v1alpha1.ReasonKeyRetained, fmt.Sprintf("key %d leaves at %s, unless something needs it then: %s. %s", k.Number, date, tokens, accept)
	}
}

// firstNames are the first ten names, and how many more there are.
func firstNames(all []string, count int) string {
	out := strings.Join(all[:min(len(all), maxNames)], ", ")
	if more := count - min(len(all), maxNames); more > 0 {
		out = strings.TrimPrefix(fmt.Sprintf("%s, and %d more", out, more), ", ")
	}
	return out
}
