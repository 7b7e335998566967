package leaf_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
)

// notes are records in memory. What lacks was written by somebody else, and is known once they are read again.
type notes struct {
	issues, lacks []records.Issue
	inUse         []string
	err           error
	published     func() bool
	early         bool // something was published before it was recorded
}

func (n *notes) Of(context.Context, string, records.Object) (records.Issues, error) {
	return slices.Clone(n.issues), n.err
}

func (n *notes) Refresh(context.Context, string) error {
	n.issues, n.lacks = append(n.issues, n.lacks...), nil
	return nil
}

func (n *notes) Record(_ context.Context, p records.Place, i records.Issue, inUse ...string) error {
	if p != (records.Place{Namespace: "prod", NamespaceUID: "ns", HomeUID: "home"}) || i.UID != "node1" || i.Name != "node1" {
		return errors.New("it is recorded for somebody else")
	}
	n.early = n.early || n.published()
	n.issues, n.inUse = append(n.issues, i), inUse
	return n.err
}

// there says whether the Secret is there.
func (w *world) there() bool {
	w.t.Helper()
	var s corev1.Secret
	err := w.api.Get(ctx, client.ObjectKey{Namespace: "prod", Name: "node1-tls"}, &s)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

// TestRecords: a certificate that an agent acknowledges is recorded before it is published, and issued anew where it was not.
func TestRecords(t *testing.T) {
	byAgent := consumers.Acknowledgment{Agent: &ack.State{}, SignedBy: "0A"}
	w := newWorld(t)
	n := &notes{published: w.there}
	w.Records = n
	r := w.request()
	r.ApprovedKey = "approved"

	n.err = errors.New("etcd is away")
	r.Acknowledgment = byAgent
	if _, err := w.Make(ctx, r, nil); err == nil || w.there() {
		t.Fatalf("it was published without a record: %v", err)
	}
	n.err, n.issues = nil, nil
	st, err := w.Make(ctx, r, nil)
	if err != nil || !st.Issued || n.early {
		t.Fatalf("issued %t, before it was recorded: %t, %v", st.Issued, n.early, err)
	}
	serial := pki.SerialOf(st.Observed.Leaf.Cert)
	if i := n.issues[0]; i.SerialNumber != serial || !pki.SamePublicKey(i.Key(), st.Observed.Leaf.Cert.PublicKey) || i.ApprovedKeySHA256 != "approved" {
		t.Errorf("recorded is %+v", i)
	}
	kept := func(what string, a consumers.Acknowledgment, want plan.Action) leaf.State {
		t.Helper()
		r.Acknowledgment = a
		st, err := w.Make(ctx, r, w.noted())
		if err != nil || st.Decision.Action != want {
			t.Errorf("%s: %+v, %v", what, st.Decision, err)
		}
		return st
	}
	kept("it is recorded", byAgent, plan.Keep)
	n.lacks, n.issues = n.issues, nil
	s := w.secret()
	s.OwnerReferences = nil // as it is after a restore
	if err := w.api.Update(ctx, s); err != nil {
		t.Fatal(err)
	}
	kept("a restore has brought the record", byAgent, plan.Keep)
	if len(w.secret().OwnerReferences) == 0 {
		t.Error("what a restore has brought is not looked after")
	}
	if len(n.issues) != 1 {
		t.Fatalf("recorded are %+v", n.issues)
	}
	other := n.issues[0]
	other.PublicKey = []byte("another key")
	n.issues = nil
	kept("it is mounted", consumers.Acknowledgment{Mounted: true}, plan.Keep)
	kept("a person acknowledges", consumers.Acknowledgment{}, plan.Keep)
	if len(n.issues) > 0 {
		t.Errorf("%d are recorded that were not issued", len(n.issues))
	}
	for range records.MaxPerObject {
		n.issues = append(n.issues, other)
	}
	st = kept("its serial number was recorded for another key", byAgent, plan.Issue)
	if !st.Issued || st.Decision.Reason != plan.NotRecorded || !slices.Contains(n.inUse, serial) || len(n.inUse) != 3 || !slices.Contains(n.inUse, "0A") {
		t.Errorf("issued %t, %s; in use are %v, and not %s", st.Issued, st.Decision.Reason, n.inUse, serial)
	}
}

// TestEarlierCertificate: what was recorded before another one is neither kept nor signed, whoever put it back.
func TestEarlierCertificate(t *testing.T) {
	person := consumers.Acknowledgment{Manual: &v1alpha1.AcknowledgedDelivery{}}
	for name, tc := range map[string]struct {
		consumers.Acknowledgment
		forgotten bool // the earlier one has no record any more, or never had one
	}{
		"an agent":            {consumers.Acknowledgment{Agent: &ack.State{}}, false},
		"an agent, forgotten": {consumers.Acknowledgment{Agent: &ack.State{}}, true},
		"a person":            {person, false},
		"a person, forgotten": {person, true},
	} {
		w := newWorld(t)
		n := &notes{published: func() bool { return false }}
		w.Records = n
		r := w.toAgent()
		r.Acknowledgment = tc.Acknowledgment
		w.visit(r)
		earlier := w.secret()
		if tc.forgotten {
			n.issues = nil
		}
		if err := w.api.Delete(ctx, w.secret()); err != nil {
			t.Fatal(err)
		}
		w.visit(r)
		w.quiet()
		w.edit(func(s *corev1.Secret) {
			s.Data["tls.crt"], s.Data["tls.key"] = earlier.Data["tls.crt"], earlier.Data["tls.key"]
		})
		waiting := r
		waiting.Desired.KeyOnHost = true // and the host has not asked
		w.visit(waiting)
		if w.signed().Holds("tls.crt", earlier.Data["tls.crt"]) {
			t.Errorf("%s: it is signed while it waits", name)
		}
		st, err := w.Make(ctx, r, w.noted())
		if err != nil || !st.Issued || st.Decision.Reason != plan.NotRecorded {
			t.Errorf("%s: issued %t, %+v, %v", name, st.Issued, st.Decision, err)
		}
		if s := w.secret(); bytes.Equal(s.Data["tls.crt"], earlier.Data["tls.crt"]) || !w.signed().Holds("tls.crt", s.Data["tls.crt"]) {
			t.Errorf("%s: what is issued in its place is not signed", name)
		}
		w.quiet()
		// The operator ends between record and write.
		n.issues = append(n.issues, records.Issue{SerialNumber: "FF"})
		if st, err = w.Make(ctx, r, w.noted()); err != nil || !st.Issued {
			t.Errorf("%s: after a crash: %+v, %v", name, st.Decision, err)
		}
		if st, err = w.Make(ctx, r, w.noted()); err != nil || st.Issued {
			t.Errorf("%s: it is issued again: %+v, %v", name, st.Decision, err)
		}
	}
}

// TestRecordBeforeTheCache: a certificate that the cache does not have yet is not taken for one that was never published.
func TestRecordBeforeTheCache(t *testing.T) {
	w := newWorld(t)
	n := &notes{published: func() bool { return false }}
	w.Records = n
	r := w.request()
	r.Acknowledgment = consumers.Acknowledgment{Agent: &ack.State{}}
	w.visit(r)
	behind := w.noted()
	again := r
	again.Desired.Spec.Validity += time.Hour
	w.visit(again)
	w.visit(r)
	if st, err := w.Make(ctx, r, behind); !errors.Is(err, owned.ErrBehind) || st.Issued || len(n.issues) != 3 {
		t.Errorf("issued %t, %+v, %v; %d are recorded", st.Issued, st.Decision, err, len(n.issues))
	}
}

// TestMountedInBetween: what was recorded stays the last one only where what is published later is recorded too.
func TestMountedInBetween(t *testing.T) {
	w := newWorld(t)
	n := &notes{published: func() bool { return false }}
	w.Records = n
	byAgent := w.request()
	byAgent.Acknowledgment = consumers.Acknowledgment{Agent: &ack.State{}}
	mounted := w.request()
	mounted.Desired.Spec.Validity += time.Hour
	w.visit(mounted)
	if len(n.issues) > 0 {
		t.Fatalf("recorded are %+v", n.issues)
	}
	w.visit(byAgent)
	w.visit(mounted)
	if len(n.issues) != 2 {
		t.Fatalf("recorded are %+v", n.issues)
	}
	byAgent.Desired = mounted.Desired
	if st, err := w.Make(ctx, byAgent, w.noted()); err != nil || st.Decision.Action != plan.Keep {
		t.Errorf("%+v, %v", st.Decision, err)
	}
	mounted.Desired.Spec.Validity += time.Hour
	n.err = errors.New("etcd is away")
	if st, err := w.Make(ctx, mounted, w.noted()); err != nil || !st.Issued {
		t.Errorf("nobody signs by it: %+v, %v", st.Decision, err)
	}
}

// TestLeftOutlivesTheSecret: the Secret of an object that was moved to another CA is deleted, and with it what was noted of the CA before. Its issues, as far
// as they count, tell of it.
func TestLeftOutlivesTheSecret(t *testing.T) {
	byAgent := consumers.Acknowledgment{Agent: &ack.State{}}
	for name, tc := range map[string]struct {
		cas  []string
		ends time.Duration // of the certificate, from now on
		err  error
		ack  consumers.Acknowledgment
		want []string
	}{
		"of another CA, and its root": {[]string{"root", "before"}, time.Second, nil, byAgent, []string{"before", "root"}},
		"of the same":                 {[]string{"k8s"}, time.Second, nil, byAgent, nil},
		"of none":                     {nil, time.Second, nil, byAgent, nil},
		"of another CA, and it ended": {[]string{"before"}, 0, nil, byAgent, nil},
		"where that cannot be read":   {nil, time.Second, errors.New("unreadable"), consumers.Acknowledgment{Mounted: true}, nil},
	} {
		w := newWorld(t)
		issue := records.Issue{SerialNumber: "0A", CAs: tc.cas, NotAfter: w.Clock.Now().Add(tc.ends)}
		n := &notes{published: w.there, issues: []records.Issue{issue}, err: tc.err}
		w.Records = n
		r := w.request()
		r.Acknowledgment = tc.ack
		if _, err := w.Make(ctx, r, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := leaf.ClaimOf(r.Keeper, w.secret()).Left; !slices.Equal(got, tc.want) {
			t.Errorf("%s: left are %v", name, got)
		}
		if last := n.issues[len(n.issues)-1]; tc.err == nil && !slices.Equal(last.CAs, []string{"k8s"}) {
			t.Errorf("%s: the next issue names %v", name, last.CAs)
		}
	}
}
