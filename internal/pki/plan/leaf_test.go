package plan_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// whole is the second in which certificates that are asked for at start are made.
var whole = start.UTC().Truncate(time.Second)

func TestDecideAtEveryBoundary(t *testing.T) {
	ca := clusterCA(t, 3650*day)
	const s = time.Second
	for name, tc := range map[string]struct {
		mod    func(*plan.Desired)
		at     time.Duration // since the leaf was issued
		action plan.Action
		reason plan.Reason
		next   time.Duration
	}{
		"just issued":                       {nil, 0, plan.Keep, plan.Issued, 20 * day},
		"clock went back an hour":           {nil, -time.Hour, plan.Keep, plan.Issued, 20 * day},
		"a second before renewal":           {nil, 20*day - s, plan.Keep, plan.Issued, 20 * day},
		"at renewal":                        {nil, 20 * day, plan.Issue, plan.RenewalDue, 0},
		"a second after renewal":            {nil, 20*day + s, plan.Issue, plan.RenewalDue, 0},
		"a second before the end":           {nil, 30*day - s, plan.Issue, plan.RenewalDue, 0},
		"at the end":                        {nil, 30 * day, plan.Issue, plan.Expired, 0},
		"long after the end":                {nil, 300 * day, plan.Issue, plan.Expired, 0},
		"renewBefore a day, a second early": {renewBefore(day), 29*day - s, plan.Keep, plan.Issued, 29 * day},
		"renewBefore a day, due":            {renewBefore(day), 29 * day, plan.Issue, plan.RenewalDue, 0},
		"renewBefore too long, early":       {renewBefore(40 * day), 3*day - s, plan.Keep, plan.Issued, 3 * day},
		"renewBefore too long, due":         {renewBefore(40 * day), 3 * day, plan.Issue, plan.RenewalDue, 0},
		"renewBefore negative, early":       {renewBefore(-day), 30*day - 2*s, plan.Keep, plan.Issued, 30*day - s},
		"renewBefore negative, due":         {renewBefore(-day), 30*day - s, plan.Issue, plan.RenewalDue, 0},
		"seed 50, a second early":           {seed(50), 20*day - 43200*s - s, plan.Keep, plan.Issued, 20*day - 43200*s},
		"seed 50, due":                      {seed(50), 20*day - 43200*s, plan.Issue, plan.RenewalDue, 0},
		"seed 150 is seed 50":               {seed(150), 20*day - 43200*s - s, plan.Keep, plan.Issued, 20*day - 43200*s},
		"no issuer, early":                  {noIssuer, 20*day - s, plan.Keep, plan.Issued, 20 * day},
		"no issuer, due":                    {noIssuer, 20 * day, plan.Wait, plan.RenewalDue, 30 * day},
		"no issuer, a second before end":    {noIssuer, 30*day - s, plan.Wait, plan.RenewalDue, 30 * day},
		"no issuer, at the end":             {noIssuer, 30 * day, plan.Wait, plan.Expired, 0},
	} {
		d := kubelet(ca)
		o := issue(t, start, d)
		if tc.mod != nil {
			tc.mod(&d)
		}
		got := plan.Decide(whole.Add(tc.at), d, o)
		want := plan.Decision{Action: tc.action, Reason: tc.reason, Message: got.Message}
		if tc.next != 0 {
			want.NextCheck = whole.Add(tc.next)
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if (got.Message == "") != (tc.action == plan.Keep) {
			t.Errorf("%s: message %q", name, got.Message)
		}
	}
}

func renewBefore(before time.Duration) func(*plan.Desired) {
	return func(d *plan.Desired) { d.RenewBefore = before }
}

func seed(seed uint32) func(*plan.Desired) { return func(d *plan.Desired) { d.Seed = seed } }

func noIssuer(d *plan.Desired) { d.Issuer = nil }

// Each reason by itself, and where several are true the first of the order.
func TestDecideNamesTheFirstReason(t *testing.T) {
	ca, other := clusterCA(t, 3650*day), clusterCA(t, 3650*day)
	d := kubelet(ca)
	good := issue(t, start, d)
	changed := func(mod func(*pki.CertificateSpec)) plan.Desired { c := d; mod(&c.Spec); return c }
	longer := changed(func(r *pki.CertificateSpec) { r.Validity *= 2 })
	renamed := changed(func(r *pki.CertificateSpec) { r.Subject.CommonName = "system:node:k8s-node2" })
	moved := kubelet(other)
	foreign := issue(t, start, renamed)
	foreign.SpecHash = d.Spec.Hash()
	old := issue(t, start.Add(-300*day), kubelet(oldCA(t)))
	asked := func(trigger string) plan.Desired { c := d; c.RenewalTrigger = trigger; return c }
	without := func(d plan.Desired) plan.Desired { d.Issuer = nil; return d }
	answered := func(trigger string) *plan.Observed {
		o := *good
		o.RenewalTriggers = plan.Answered(nil, trigger)
		return &o
	}
	unreadable := &plan.Observed{Err: errors.New("no PEM certificate found")}
	mismatched := &plan.Observed{Err: fmt.Errorf("Secret n1-tls: %w", pki.ErrKeyMismatch)}
	for name, tc := range map[string]struct {
		d      plan.Desired
		o      *plan.Observed
		reason plan.Reason
		words  string
	}{
		"all is well":            {d, good, plan.Issued, ""},
		"no Secret":              {d, nil, plan.SecretMissing, "does not exist"},
		"unreadable":             {d, unreadable, plan.SecretInvalid, "no PEM certificate"},
		"another's key":          {longer, mismatched, plan.KeyMismatch, "does not match"},
		"another validity":       {longer, good, plan.RequestChanged, "another validity"},
		"another name":           {renamed, good, plan.RequestChanged, `instead of "CN=system:node:k8s-node2`},
		"hash lost":              {d, &plan.Observed{Leaf: good.Leaf}, plan.RequestChanged, "another validity"},
		"swapped certificate":    {d, foreign, plan.Tampered, "its subject is"},
		"another CA":             {moved, good, plan.IssuerChanged, "not signed by the active CA"},
		"request before issuer":  {renamedFor(moved), good, plan.RequestChanged, ""},
		"tampered before issuer": {moved, foreign, plan.Tampered, ""},
		"issuer before expiry":   {d, old, plan.IssuerChanged, ""},
		"expiry before renewal":  {kubelet(nil), old, plan.Expired, "expired"},
		"a trigger":              {asked("b"), good, plan.RenewalTriggered, "spec.renewal.trigger was changed"},
		"another trigger":        {asked("b"), answered("a"), plan.RenewalTriggered, ""},
		"the same trigger":       {asked("a"), answered("a"), plan.Issued, ""},
		"a former trigger":       {asked("a"), &plan.Observed{Leaf: good.Leaf, SpecHash: good.SpecHash, RenewalTriggers: plan.Answered(plan.Answered(nil, "a"), "b")}, plan.Issued, ""},
		"no trigger any more":    {d, answered("a"), plan.Issued, ""},
		"nobody who could sign":  {without(asked("b")), good, plan.RenewalTriggered, ""},
	} {
		got := plan.Decide(start, tc.d, tc.o)
		if got.Reason != tc.reason || !strings.Contains(got.Message, tc.words) {
			t.Errorf("%s: %s %q, want %s with %q", name, got.Reason, got.Message, tc.reason, tc.words)
		}
		want := plan.Issue
		switch {
		case tc.reason == plan.Issued:
			want = plan.Keep
		case tc.d.Issuer == nil:
			want = plan.Wait
		}
		if got.Action != want {
			t.Errorf("%s: %s, want %s", name, got.Action, want)
		}
	}
}

func renamedFor(d plan.Desired) plan.Desired {
	d.Spec.Subject.CommonName = "system:node:k8s-node3"
	return d
}

func oldCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(start.Add(-400*day), pki.CertificateSpec{Subject: pki.Subject{CommonName: "kubernetes"}, Key: key, Validity: 365 * day})
	if err != nil {
		t.Fatal(err)
	}
	return &ca
}

func TestMessagesHoldNoClock(t *testing.T) { // or every look at an object would write its status
	ca := clusterCA(t, 3650*day)
	for name, o := range map[string]*plan.Observed{"due": issue(t, start, kubelet(ca)), "missing": nil} {
		a, b := plan.Decide(start.Add(21*day), kubelet(ca), o), plan.Decide(start.Add(22*day), kubelet(ca), o)
		if a != b {
			t.Errorf("%s: a day later %+v becomes %+v", name, a, b)
		}
	}
}

// Without an issuer nothing is given up: what there is stays, and the moment is named at which it ends.
func TestDecideWithoutIssuer(t *testing.T) {
	ca := clusterCA(t, 3650*day)
	d := kubelet(ca)
	good := issue(t, start, d)
	noIssuer(&d)
	wantEnd := good.Leaf.Cert.NotAfter
	longer := d
	longer.Spec.Validity *= 2
	for name, tc := range map[string]struct {
		d    plan.Desired
		o    *plan.Observed
		next time.Time
	}{
		"nothing yet":     {d, nil, time.Time{}},
		"unreadable":      {d, &plan.Observed{Err: errors.New("x")}, time.Time{}},
		"changed request": {longer, good, wantEnd},
	} {
		if got := plan.Decide(start, tc.d, tc.o); got.Action != plan.Wait || !got.NextCheck.Equal(tc.next) {
			t.Errorf("%s: %+v, want Wait until %v", name, got, tc.next)
		}
	}
}

func TestCanSign(t *testing.T) {
	ca := clusterCA(t, 365*day)
	end := ca.Cert.NotAfter
	for before, want := range map[time.Duration]bool{
		365 * day: true, day: true, 10*time.Minute + time.Second: true, 10 * time.Minute: true, 10*time.Minute - time.Second: false,
		time.Second: false, 0: false, -day: false,
	} {
		if got := plan.CanSign(end.Add(-before), ca); got != want {
			t.Errorf("%v before its end a CA can sign: %v", before, got)
		}
		d := plan.Decide(end.Add(-before), kubelet(ca), nil)
		if want := map[bool]plan.Action{true: plan.Issue, false: plan.Wait}[want]; d.Action != want {
			t.Errorf("%v before the CA's end: %s, want %s", before, d.Action, want)
		}
		if want {
			if life := issue(t, end.Add(-before), kubelet(ca)).Leaf.Cert.NotAfter.Sub(end.Add(-before)); life < pki.MinValidity {
				t.Errorf("%v before the CA's end a leaf of %v was signed", before, life)
			}
		}
	}
	below := *ca // an issuer below a CA that ends sooner
	below.Chain = []*x509.Certificate{oldCA(t).Cert}
	if plan.CanSign(start, &below) {
		t.Error("a CA below an expired one can sign")
	}
}

func TestUsable(t *testing.T) {
	ca, other := clusterCA(t, 3650*day), clusterCA(t, 3650*day)
	good := issue(t, start, kubelet(ca))
	end, roots := good.Leaf.Cert.NotAfter, []*x509.Certificate{other.Cert, ca.Cert}
	for name, tc := range map[string]struct {
		at    time.Time
		o     *plan.Observed
		roots []*x509.Certificate
		want  string
	}{
		"now":               {start, good, roots, ""},
		"due for renewal":   {end.Add(-day), good, roots, ""},
		"second before end": {end.Add(-time.Second), good, roots, ""},
		"at the end":        {end, good, roots, "expired"},
		"after the end":     {end.Add(time.Second), good, roots, "expired"},
		"before its time":   {good.Leaf.Cert.NotBefore.Add(-time.Second), good, roots, "not yet valid"},
		"another root":      {start, good, roots[:1], "unknown authority"},
		"no roots":          {start, good, nil, "unknown authority"},
		"nothing":           {start, nil, roots, "no certificate yet"},
		"unreadable":        {start, &plan.Observed{Err: pki.ErrKeyMismatch}, roots, "does not match"},
	} {
		err := plan.Usable(tc.at, tc.o, tc.roots)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestDecideAfterARestore gives the Secret of a restored object ten minutes to come, and issues another certificate only
// then.
func TestDecideAfterARestore(t *testing.T) {
	ca := clusterCA(t, 3650*day)
	until := whole.Add(plan.Settling)
	d := kubelet(ca)
	d.Awaits = until
	waits := plan.Decide(until.Add(-time.Second), d, nil)
	if waits.Action != plan.Wait || waits.Reason != plan.RestoreIncomplete || !waits.NextCheck.Equal(until) {
		t.Errorf("a second before: %+v", waits)
	}
	if got := plan.Decide(until, d, nil); got.Action != plan.Issue || got.Reason != plan.SecretMissing {
		t.Errorf("when it has not come: %+v", got)
	}
	if got := plan.Decide(whole, d, issue(t, start, d)); got.Action != plan.Keep {
		t.Errorf("when it has come: %+v", got)
	}
}

// TestAnswered: the last 64 texts are remembered, each once.
func TestAnswered(t *testing.T) {
	var all []string
	text := func(n int) string { return fmt.Sprint("text ", n) }
	for n := range 65 {
		all = plan.Answered(plan.Answered(all, text(n)), text(n))
	}
	of := func(n int) string { return plan.Answered(nil, text(n))[0] }
	if len(all) != 64 || slices.Contains(all, of(0)) || all[0] != of(1) || all[63] != of(64) || len(plan.Answered(nil, "")) > 0 {
		t.Errorf("remembered are %q", all)
	}
}
