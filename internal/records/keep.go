package records

import (
	"slices"
	"time"
)

// MaxPerObject is how many issues of one object are kept, beside those that are in use.
const MaxPerObject = 16

// outdated are the serial numbers, of an object's issues from the oldest on, that nobody needs any more: those before the one that was acknowledged, and
// all up to the last that has ended. An earlier one that lasts longer is not the last again because of that.
func outdated(issues []Issue, acknowledged string, now time.Time) []string {
	first := max(placeOf(issues, acknowledged), 0) // of those that stay
	for n, i := range issues {
		if !now.Before(i.NotAfter) {
			first = max(first, n+1)
		}
	}
	var out []string
	for _, i := range issues[:first] {
		out = append(out, i.SerialNumber)
	}
	return out
}

// excess are the serial numbers that go because there are too many of one object: the oldest, but for those in use. What was
// recorded and never published must not displace the one that a host has.
func excess(issues []Issue, inUse ...string) []string {
	var out []string
	for _, i := range issues {
		if len(issues)-len(out) <= MaxPerObject {
			break
		}
		if !slices.Contains(inUse, i.SerialNumber) {
			out = append(out, i.SerialNumber)
		}
	}
	return out
}

// usedUp are the approvals that issues which go have used up, each once, and only those of which no issue tells that stays. A person gives each of them,
// so there are few. named are all issues that there are, by kind and name of their objects.
func usedUp(staying, going []Issue, named map[Object][]Issue) []Issue {
	var out []Issue
	for _, i := range going {
		tells := func(other Issue) bool {
			return other.named() == i.named() && other.ApprovedKeySHA256 == i.ApprovedKeySHA256 && other.spent(named[i.named()])
		}
		if i.spent(named[i.named()]) && !slices.ContainsFunc(staying, tells) && !slices.ContainsFunc(out, tells) {
			i.Object, i.Ended = i.named(), true
			out = append(out, i)
		}
	}
	return out
}
