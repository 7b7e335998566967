package plan

import "time"

// Whoever may write a Secret can have another certificate issued into it, each time: by a pair that does not fit, by an earlier one, put back with
// its claim, or by deleting it. What he brings has any of the reasons for which a certificate is issued. So it is told from what the spec's owner, the
// clock or the CA brings by another question: would the certificate that was issued last still do?

const (
	// firstDelay is how long a repair waits after another one, and longestDelay how long at most. In between it doubles.
	firstDelay   = 10 * time.Second
	longestDelay = 5 * time.Minute
	// quiet is how long after the last issue repairs are forgotten.
	quiet = time.Hour
)

// Pace says how often a certificate was issued in place of one that would still do.
type Pace struct {
	Repairs int
	At      time.Time // of the last issue of any kind
}

// Recent says whether anything is remembered at a time.
func (p Pace) Recent(now time.Time) bool { return !now.Before(p.At) && now.Before(p.At.Add(quiet)) }

// Due is when the next repair comes: the first one at once.
func (p Pace) Due() time.Time {
	if p.Repairs == 0 {
		return p.At
	}
	delay := firstDelay
	for n := 1; n < p.Repairs && delay < longestDelay; n++ {
		delay *= 2
	}
	return p.At.Add(min(delay, longestDelay))
}

// After is the pace once something was issued.
func (p Pace) After(now time.Time, repair bool) Pace {
	next := Pace{At: now.UTC().Truncate(time.Second)}
	if p.Recent(now) {
		next.Repairs = p.Repairs
	}
	if repair {
		next.Repairs++
	}
	return next
}

// WouldDo says whether a certificate is as it should be, wherever it is. nil: there is none.
func WouldDo(now time.Time, d Desired, o *Observed) bool {
	if o == nil {
		return false
	}
	reason, _ := check(now, d, o)
	return reason == Issued
}

// Paced puts off a repair that comes too soon after others. repair says whether the certificate that was issued last would still do. A renewal that somebody
// asks for counts as one: he may ask again and again. What is there does meanwhile.
func Paced(now time.Time, decided Decision, p Pace, repair bool) Decision {
	due := p.Due()
	if decided.Action != Issue || !repair && !decided.asked() || !p.Recent(now) || !now.Before(due) {
		return decided
	}
	if decided.asked() {
		return Decision{Action: Keep, Reason: Issued, NextCheck: due}
	}
	return Decision{
		Action: Wait, Reason: RepairDelayed, NextCheck: due,
		Message: "somebody else has changed or deleted its Secret again and again",
	}
}

// asked says whether a certificate is issued because somebody asks for another one, and for nothing else.
func (d Decision) asked() bool { return d.Reason == RenewalTriggered }

// Repairs says whether what was decided is a repair, as far as it is paced. last is the certificate that was issued last.
func (d Decision) Repairs(now time.Time, wanted Desired, last *Observed) bool {
	return d.asked() || WouldDo(now, wanted, last)
}
