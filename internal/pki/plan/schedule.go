package plan

import (
	"hash/fnv"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// spreadPercent is how much of the time until renewal the spread may take away.
const spreadPercent = 5

// Seed turns an object's identity into the number that spreads renewals, so that certificates issued in
// one moment are not all renewed in one moment.
func Seed(identity string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(identity)) // never fails
	return h.Sum32()
}

// RenewAt says when to replace a certificate that is valid from notBefore to notAfter: renewBefore
// ahead of its end, and up to 5 % of the wait earlier, by seed. It is never in the first tenth of the
// certificate's life, so that no choice of renewBefore can re-issue without end. It depends only on
// its arguments, so that wake-up and decision agree.
func RenewAt(notBefore, notAfter time.Time, renewBefore time.Duration, seed uint32) time.Time {
	issued := notBefore.Add(pki.ClockSkew)
	if !issued.Before(notAfter) {
		issued = notBefore
	}
	life := notAfter.Sub(issued)
	wait := life - max(renewBefore, time.Second) // before the end, whatever renewBefore says
	wait -= wait / 100 * spreadPercent / 100 * time.Duration(seed%100)
	return issued.Add(max(wait, life/10)).Truncate(time.Second)
}
