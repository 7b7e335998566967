package probe

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// Observation is what the addresses of a target show together.
//
// It is settled while the last two attempts at every address all show the same certificate and the same
// client CAs. Until then it says nothing but its Problems: a missing answer is neither a yes nor a no.
type Observation struct {
	Settled    bool
	LeafSHA256 string   // "" unless settled
	ClientCAs  [][]byte // DER subjects, sorted, each once; nil unless settled; not to be changed
	// At is when the oldest of the attempts that this rests on began: what was delivered before it would have been
	// seen. Zero unless settled. It advances with each attempt.
	At time.Time
	// Problems say for each address why this is not settled, as in "10.1.10.238:6443: connection refused",
	// in the order of addresses. They hold neither clocks nor counters. Empty when settled, and only then.
	Problems []string
	// Differs is what does not agree, where every address answers and yet nothing is settled; else "".
	Differs Difference
}

// Difference is what two attempts do not agree on.
type Difference string

// The differences. Of two, the certificate counts: without it nobody knows whose client CAs these are.
const (
	DifferentLeaf      Difference = "Leaf"
	DifferentClientCAs Difference = "ClientCAs"
)

// Serves says whether every address serves this very certificate.
func (s Observation) Serves(leaf *x509.Certificate) bool {
	return s.Settled && s.LeafSHA256 == pki.FingerprintOf(leaf)
}

// Trusts says whether every address accepts the clients of a CA.
//
// A handshake names CAs by subject alone: a CA with the same subject and another key attempts the same, and
// kube-apiserver's one list does not say which of its CAs verifies clients and which the front proxy.
// Whoever stands in between can answer in the API server's place, but not with its certificate: where that
// matters, ask Serves too.
func (s Observation) Trusts(ca *x509.Certificate) bool {
	return s.Settled && Contains(s.ClientCAs, ca)
}

// Dropped says whether no address names a CA any more. It is not the opposite of Trusts: while nothing is
// settled, both are false. The same limits hold.
func (s Observation) Dropped(ca *x509.Certificate) bool {
	return s.Settled && !Contains(s.ClientCAs, ca)
}

// Since is what has been seen after t: not settled if it rests on an attempt that began before. t may
// have been rounded down to the second, as times in objects are.
//
// At advances without a notification, so a caller that this keeps waiting comes back after two intervals.
func (s Observation) Since(t time.Time) Observation {
	if s.Settled && !s.At.Truncate(time.Second).After(t) {
		return Observation{Problems: []string{"not every address has been seen twice since then"}}
	}
	return s
}

// Contains says whether DER subjects include that of a certificate.
func Contains(subjects [][]byte, cert *x509.Certificate) bool {
	return slices.ContainsFunc(subjects, func(s []byte) bool { return bytes.Equal(s, cert.RawSubject) })
}

// equal compares all but At.
func (s Observation) equal(o Observation) bool {
	return s.Settled == o.Settled && s.LeafSHA256 == o.LeafSHA256 && slices.EqualFunc(s.ClientCAs, o.ClientCAs, bytes.Equal) &&
		slices.Equal(s.Problems, o.Problems)
}

// attempt is one attempt at one address.
type attempt struct {
	at time.Time // when it began, by the wall clock
	Handshake
	err error
}

// settle draws the conclusion from the last attempts at each address, the newest last. Two are needed.
func settle(addresses []string, attempts map[string][]attempt) Observation {
	if len(addresses) == 0 {
		return Observation{Problems: []string{"there is no address to probe"}}
	}
	var out Observation
	var first string // the address that the others have to agree with
	var reference attempt
	unanswered := false
	for _, address := range addresses {
		last := attempts[address]
		problem, differs := unsettled(last)
		if problem == "" && first == "" {
			first, reference = address, last[0]
		}
		if problem == "" {
			problem, differs = difference(reference, last[0], "serves another certificate than "+first, "names other client CAs than "+first)
		}
		if problem != "" {
			out.Problems = append(out.Problems, address+": "+problem)
			unanswered = unanswered || differs == ""
			if out.Differs != DifferentLeaf {
				out.Differs = differs
			}
			continue
		}
		for _, l := range last { // a clock may have been set back in between
			if out.At.IsZero() || l.at.Before(out.At) {
				out.At = l.at
			}
		}
	}
	if len(out.Problems) > 0 {
		if unanswered {
			out.Differs = ""
		}
		return Observation{Problems: out.Problems, Differs: out.Differs}
	}
	out.Settled, out.LeafSHA256, out.ClientCAs = true, reference.LeafSHA256, reference.ClientCAs
	return out
}

// unsettled says why the attempts at one address prove nothing yet, "" if they do.
func unsettled(last []attempt) (string, Difference) {
	if len(last) == 0 {
		return "not seen twice in a row yet", ""
	}
	if problem := last[len(last)-1].problem(); problem != "" {
		return problem, ""
	}
	if len(last) < 2 || last[0].problem() != "" {
		return "not seen twice in a row yet", ""
	}
	return difference(last[0], last[1], "its certificate has just changed", "its client CAs have just changed")
}

// problem says why an attempt proves nothing by itself. A server that names no client CA accepts no client, or
// isn't the API server.
func (l attempt) problem() string {
	switch {
	case l.err != nil:
		return l.err.Error()
	case !l.Requested:
		return "it asks for no client certificate"
	case len(l.ClientCAs) == 0:
		return "it names no client CA"
	default:
		return ""
	}
}

// difference is what two attempts do not agree on, with the text for it; "" if they agree.
func difference(a, b attempt, leaf, cas string) (string, Difference) {
	switch {
	case a.LeafSHA256 != b.LeafSHA256:
		return leaf, DifferentLeaf
	case !slices.EqualFunc(a.ClientCAs, b.ClientCAs, bytes.Equal):
		return cas, DifferentClientCAs
	default:
		return "", ""
	}
}
