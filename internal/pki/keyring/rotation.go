package keyring

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Phase names where a rotation stands.
type Phase string

// The phases, in order.
const (
	// DistributingTrust: the new public key is brought to every API server; the old key signs everything still.
	DistributingTrust Phase = "DistributingTrust"
	// SwitchingSigner: the new key is brought to every API server, to sign.
	SwitchingSigner Phase = "SwitchingSigner"
)

// Cause is why the key is rotated.
type Cause string

// The causes.
const (
	TriggerChanged Cause = "TriggerChanged" // rotation.trigger is another
	RenewalDue     Cause = "RenewalDue"     // it has signed for as long as rotateEvery says
)

// Rotation is what a ledger keeps of the rotation under way.
type Rotation struct {
	From      int32     `json:"from"`
	To        int32     `json:"to"`
	Cause     Cause     `json:"cause"`
	Trigger   string    `json:"trigger,omitempty"` // that started it, where Cause is TriggerChanged
	StartTime time.Time `json:"startTime"`
}

// Phase follows from the states; "" where no rotation is under way.
func (l Ledger) Phase() Phase {
	switch {
	case l.Rotation == nil:
		return ""
	case l.in(Trusted) != nil:
		return DistributingTrust
	default:
		return SwitchingSigner
	}
}

// RotationID names the rotation under way; "" where there is none. No two rotations of an object have the same.
func (l Ledger) RotationID(name string) string {
	if l.Rotation == nil {
		return ""
	}
	return fmt.Sprintf("%s/%s.g%d", name, cmp.Or(l.Rotation.Trigger, "age"), l.Rotation.To)
}

// Renewal is when the key is rotated by its age; zero: it is not.
func (l Ledger) Renewal(rotateEvery time.Duration) time.Time {
	active, ok := l.Active()
	if !ok || rotateEvery <= 0 {
		return time.Time{}
	}
	return active.Since.Add(rotateEvery)
}

// Cause is why the key that signs is to be rotated, apart from a rotation that is under way; "" where it need not be.
func (l Ledger) Cause(now time.Time, trigger string, rotateEvery time.Duration) Cause {
	due := l.Renewal(rotateEvery)
	switch {
	case l.news(trigger):
		return TriggerChanged
	case !due.IsZero() && !now.Before(due):
		return RenewalDue
	default:
		return ""
	}
}

// news says whether a text of rotation.trigger asks for a rotation: it is not the one that was taken last, and none that had its effect.
func (l Ledger) news(trigger string) bool {
	return trigger != "" && trigger != l.Trigger && !slices.Contains(l.Used, digest(trigger))
}

// used is the ledger once a text of rotation.trigger has had its effect.
func (l Ledger) used(trigger string) Ledger {
	if trigger == "" {
		return l
	}
	return l.remembering(digest(trigger))
}

// remembering is the ledger with one more digest of a text that has had its effect.
func (l Ledger) remembering(digest string) Ledger {
	if slices.Contains(l.Used, digest) {
		return l
	}
	l.Used = append(slices.Clone(l.Used), digest)
	if n := len(l.Used); n > maxUsed {
		l.Used = l.Used[n-maxUsed:]
	}
	return l
}

// digest is enough of a SHA-256 that nobody finds two texts of one.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
