package probe

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

var start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.UTC)

// at is an attempt that began some seconds after the start and saw a certificate and CAs.
func at(second int, leaf string, cas ...string) attempt {
	l := attempt{at: start.Add(time.Duration(second) * time.Second), Handshake: Handshake{LeafSHA256: leaf, Requested: true}}
	for _, ca := range cas {
		l.ClientCAs = append(l.ClientCAs, []byte(ca))
	}
	return l
}

func refused(second int) attempt {
	return attempt{at: start.Add(time.Duration(second) * time.Second), err: errors.New("connection refused")}
}

func unasked(second int) attempt {
	l := at(second, "leaf")
	l.Requested = false
	return l
}

const (
	one = "10.0.0.1:6443"
	two = "10.0.0.2:6443"
)

func TestSettle(t *testing.T) {
	settled := func(at int, cas ...string) Observation {
		s := Observation{Settled: true, LeafSHA256: "leaf", At: start.Add(time.Duration(at) * time.Second)}
		for _, ca := range cas {
			s.ClientCAs = append(s.ClientCAs, []byte(ca))
		}
		return s
	}
	problems := func(p ...string) Observation { return Observation{Problems: p} }
	differs := func(d Difference, p string) Observation { return Observation{Problems: []string{p}, Differs: d} }
	good := []attempt{at(0, "leaf", "a"), at(30, "leaf", "a")}
	for name, row := range map[string]struct {
		one, two []attempt // no attempts at two at all: it is not an address
		want     Observation
	}{
		"never":                    {nil, nil, problems(one + ": not seen twice in a row yet")},
		"once":                     {good[:1], nil, problems(one + ": not seen twice in a row yet")},
		"twice":                    {good, nil, settled(0, "a")},
		"refused":                  {[]attempt{refused(0)}, nil, problems(one + ": connection refused")},
		"refused now":              {[]attempt{at(0, "leaf", "a"), refused(30)}, nil, problems(one + ": connection refused")},
		"refused before":           {[]attempt{refused(0), at(30, "leaf", "a")}, nil, problems(one + ": not seen twice in a row yet")},
		"refused twice":            {[]attempt{refused(0), refused(30)}, nil, problems(one + ": connection refused")},
		"not asked":                {[]attempt{unasked(0), unasked(30)}, nil, problems(one + ": it asks for no client certificate")},
		"not asked before":         {[]attempt{unasked(0), at(30, "leaf", "a")}, nil, problems(one + ": not seen twice in a row yet")},
		"no CA named":              {[]attempt{at(0, "leaf"), at(30, "leaf")}, nil, problems(one + ": it names no client CA")},
		"no CA named any more":     {[]attempt{at(0, "leaf", "a"), at(30, "leaf")}, nil, problems(one + ": it names no client CA")},
		"certificate just now":     {[]attempt{at(0, "old", "a"), at(30, "leaf", "a")}, nil, differs(DifferentLeaf, one+": its certificate has just changed")},
		"a CA more just now":       {[]attempt{at(0, "leaf", "a"), at(30, "leaf", "a", "b")}, nil, differs(DifferentClientCAs, one+": its client CAs have just changed")},
		"a CA less just now":       {[]attempt{at(0, "leaf", "a", "b"), at(30, "leaf", "a")}, nil, differs(DifferentClientCAs, one+": its client CAs have just changed")},
		"another CA just now":      {[]attempt{at(0, "leaf", "a"), at(30, "leaf", "b")}, nil, differs(DifferentClientCAs, one+": its client CAs have just changed")},
		"two agree":                {good, good, settled(0, "a")},
		"two agree, one is newer":  {[]attempt{at(9, "leaf", "a"), at(39, "leaf", "a")}, []attempt{at(7, "leaf", "a"), at(37, "leaf", "a")}, settled(7, "a")},
		"the clock was set back":   {[]attempt{at(9, "leaf", "a"), at(3, "leaf", "a")}, nil, settled(3, "a")},
		"the other was seen once":  {good, good[:1], problems(two + ": not seen twice in a row yet")},
		"the other is down":        {good, []attempt{refused(0), refused(30)}, problems(two + ": connection refused")},
		"the other was never seen": {good, []attempt{}, problems(two + ": not seen twice in a row yet")},
		"the other lags, certificate": {
			good, []attempt{at(0, "old", "a"), at(30, "old", "a")}, differs(DifferentLeaf, two+": serves another certificate than "+one),
		},
		"the other lags, CAs": {
			good, []attempt{at(0, "leaf", "a", "b"), at(30, "leaf", "a", "b")}, differs(DifferentClientCAs, two+": names other client CAs than "+one),
		},
		"the other is just changing": {
			good, []attempt{at(0, "leaf", "b"), at(30, "leaf", "a")}, differs(DifferentClientCAs, two+": its client CAs have just changed"),
		},
		"one lags, the other has another certificate": {
			[]attempt{at(0, "leaf", "b"), at(30, "leaf", "a")}, []attempt{at(0, "leaf", "a"), at(30, "old", "a")},
			Observation{Problems: []string{one + ": its client CAs have just changed", two + ": its certificate has just changed"}, Differs: DifferentLeaf},
		},
		"both have their own": {
			[]attempt{refused(0)}, good[:1], problems(one+": connection refused", two+": not seen twice in a row yet"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			addresses, attempts := []string{one}, map[string][]attempt{one: row.one}
			if row.two != nil {
				addresses, attempts[two] = append(addresses, two), row.two
			}
			if got := settle(addresses, attempts); !reflect.DeepEqual(got, row.want) {
				t.Errorf("it concludes %+v\nnot %+v", got, row.want)
			}
		})
	}
	if got := settle(nil, nil); got.Settled || len(got.Problems) != 1 {
		t.Errorf("without addresses it concludes %+v", got)
	}
}

// TestSettleProperties holds for any attempts: they settle exactly if all of them show the same, and there
// are problems exactly if they don't.
func TestSettleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var addresses []string
		attempts := map[string][]attempt{}
		all := []attempt{}
		enough := true
		for i := range rapid.IntRange(1, 3).Draw(t, "addresses") {
			address := fmt.Sprintf("10.0.0.%d:6443", i)
			addresses = append(addresses, address)
			for range rapid.SampledFrom([]int{0, 1, 2, 2, 2, 2}).Draw(t, "attempts") {
				second := rapid.IntRange(0, 60).Draw(t, "second")
				attempts[address] = append(attempts[address], rapid.SampledFrom([]attempt{
					at(second, "leaf", "a"), at(second, "leaf", "a"), at(second, "leaf", "a"), at(second, "leaf", "a"),
					at(second, "leaf", "a", "b"), at(second, "old", "a"), at(second, "leaf"), refused(second), unasked(second),
				}).Draw(t, "attempt"))
			}
			enough = enough && len(attempts[address]) == 2
			all = append(all, attempts[address]...)
		}
		want := enough && len(all[0].ClientCAs) > 0 && !slices.ContainsFunc(all, func(l attempt) bool {
			return !reflect.DeepEqual(l.Handshake, all[0].Handshake) || l.err != nil || !l.Requested
		})
		got := settle(addresses, attempts)
		if got.Settled != want || got.Settled == (len(got.Problems) > 0) {
			t.Fatalf("of %+v it concludes %+v", attempts, got)
		}
		if !got.Settled {
			if got.LeafSHA256 != "" || got.ClientCAs != nil || !got.At.IsZero() {
				t.Fatalf("unsettled, it says %+v", got)
			}
			return
		}
		for _, l := range all {
			if l.at.Before(got.At) {
				t.Fatalf("%v is not when the oldest attempt began: %+v", got.At, attempts)
			}
		}
	})
}

// TestAnswers asks what a caller asks. What is not settled answers no to every question.
func TestAnswers(t *testing.T) {
	ca, next, namesake := newCA(t, "k8s-ca"), newCA(t, "k8s-ca g2"), newCA(t, "k8s-ca")
	leaf, other := newLeaf(t, ca, ecdsa256), newLeaf(t, ca, ecdsa256)
	seen := Observation{Settled: true, LeafSHA256: pki.FingerprintOf(leaf.Cert), ClientCAs: subjects(ca), At: start}
	unsettled := seen
	unsettled.Settled = false
	for _, row := range []struct {
		what string
		got  bool
		want bool
	}{
		{"serves it", seen.Serves(leaf.Cert), true},
		{"serves another", seen.Serves(other.Cert), false},
		{"trusts it", seen.Trusts(ca.Cert), true},
		{"trusts another", seen.Trusts(next.Cert), false},
		{"trusts one of the same name", seen.Trusts(namesake.Cert), true},
		{"dropped it", seen.Dropped(ca.Cert), false},
		{"dropped another", seen.Dropped(next.Cert), true},
		{"unsettled, serves it", unsettled.Serves(leaf.Cert), false},
		{"unsettled, trusts it", unsettled.Trusts(ca.Cert), false},
		{"unsettled, dropped it", unsettled.Dropped(ca.Cert), false},
		{"unsettled, dropped another", unsettled.Dropped(next.Cert), false},
		{"contains it", Contains(subjects(next, ca), ca.Cert), true},
		{"contains another", Contains(subjects(next), ca.Cert), false},
		{"none contains it", Contains(nil, ca.Cert), false},
	} {
		if row.got != row.want {
			t.Errorf("%s: %v", row.what, row.got)
		}
	}
}

// TestSince has the boundaries: a time in an object may be up to a second too early.
func TestSince(t *testing.T) {
	whole := start.Truncate(time.Second)
	seen := Observation{Settled: true, LeafSHA256: "leaf", At: start}
	for name, row := range map[string]struct {
		since time.Time
		want  bool
	}{
		"long before":                 {start.Add(-time.Hour), true},
		"in the second before":        {whole.Add(-time.Second), true},
		"just before that second":     {whole.Add(-time.Nanosecond), true},
		"in the same second, rounded": {whole, false},
		"at that very moment":         {start, false},
		"after":                       {start.Add(time.Nanosecond), false},
	} {
		if got := seen.Since(row.since); got.Settled != row.want || got.Settled == (len(got.Problems) > 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	waiting := Observation{Problems: []string{one + ": connection refused"}}
	if got := waiting.Since(start.Add(-time.Hour)); !reflect.DeepEqual(got, waiting) {
		t.Errorf("it hides why nothing is settled: %+v", got)
	}
}
