package plan_test

import (
	"crypto"
	"errors"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

func newKey(t *testing.T) crypto.PublicKey {
	t.Helper()
	k, err := pki.GenerateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// onHost is what a host asks for, nil as long as it has not.
func onHost(public crypto.PublicKey) func(*plan.Desired) {
	return func(d *plan.Desired) { d.KeyOnHost, d.HostKey = true, public }
}

// A host's key stays the same whatever the certificate is issued again for, until the host asks for another. Without a
// request nothing is issued, and what is there counts until its end.
func TestDecideForAHostsKey(t *testing.T) {
	ca, other := clusterCA(t, 3650*day), clusterCA(t, 3650*day)
	mine, another := newKey(t), newKey(t)
	pair, err := pki.IssueFor(start, kubelet(ca).Spec, mine, *ca)
	if err != nil {
		t.Fatal(err)
	}
	good := &plan.Observed{Leaf: pair, SpecHash: kubelet(ca).Spec.Hash()}
	unreadable := &plan.Observed{Err: errors.New("no PEM certificate found")}
	longer := func(d *plan.Desired) { d.Spec.Validity *= 2 }
	for name, tc := range map[string]struct {
		d      plan.Desired
		o      *plan.Observed
		at     time.Duration
		action plan.Action
		reason plan.Reason
		next   time.Duration
	}{
		"the same key":                {kubelet(ca, onHost(mine)), good, 0, plan.Keep, plan.Issued, 20 * day},
		"a second before renewal":     {kubelet(ca, onHost(mine)), good, 20*day - time.Second, plan.Keep, plan.Issued, 20 * day},
		"due for renewal":             {kubelet(ca, onHost(mine)), good, 20 * day, plan.Issue, plan.RenewalDue, 0},
		"expired":                     {kubelet(ca, onHost(mine)), good, 30 * day, plan.Issue, plan.Expired, 0},
		"another CA":                  {kubelet(other, onHost(mine)), good, 0, plan.Issue, plan.IssuerChanged, 0},
		"another key":                 {kubelet(ca, onHost(another)), good, 0, plan.Issue, plan.KeyChanged, 0},
		"another key and CA":          {kubelet(other, onHost(another)), good, 0, plan.Issue, plan.KeyChanged, 0},
		"another key and validity":    {kubelet(ca, onHost(another), longer), good, 0, plan.Issue, plan.RequestChanged, 0},
		"another key and no CA":       {kubelet(nil, onHost(another)), good, 0, plan.Wait, plan.KeyChanged, 30 * day},
		"no Secret":                   {kubelet(ca, onHost(mine)), nil, 0, plan.Issue, plan.SecretMissing, 0},
		"unreadable":                  {kubelet(ca, onHost(mine)), unreadable, 0, plan.Issue, plan.SecretInvalid, 0},
		"no request":                  {kubelet(ca, onHost(nil)), good, 0, plan.Wait, plan.RequestMissing, 30 * day},
		"no request, due":             {kubelet(ca, onHost(nil)), good, 20 * day, plan.Wait, plan.RequestMissing, 30 * day},
		"no request, expired":         {kubelet(ca, onHost(nil)), good, 30 * day, plan.Wait, plan.RequestMissing, 0},
		"no request and no Secret":    {kubelet(ca, onHost(nil)), nil, 0, plan.Wait, plan.RequestMissing, 0},
		"no request, all else wrong":  {kubelet(other, onHost(nil), longer), unreadable, 0, plan.Wait, plan.RequestMissing, 0},
		"the operator's, another key": {kubelet(ca, func(d *plan.Desired) { d.HostKey = another }), good, 0, plan.Keep, plan.Issued, 20 * day},
	} {
		got := plan.Decide(whole.Add(tc.at), tc.d, tc.o)
		want := plan.Decision{Action: tc.action, Reason: tc.reason, Message: got.Message}
		if tc.next != 0 {
			want.NextCheck = whole.Add(tc.next)
		}
		if got != want || (got.Message == "") != (tc.action == plan.Keep) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
