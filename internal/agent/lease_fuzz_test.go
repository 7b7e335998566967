package agent

import (
	"context"
	"crypto"
	"encoding/json"
	"maps"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/files"
)

// leaseAPI is a management cluster that has one Lease, and answers a write as it likes.
type leaseAPI struct {
	stored, answer *coordinationv1.Lease
	reads          int
	written        []*coordinationv1.Lease
}

func (a *leaseAPI) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	a.reads++
	return a.stored.DeepCopy(), nil
}

func (a *leaseAPI) Update(_ context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	a.written = append(a.written, l.DeepCopy())
	if a.answer != nil {
		return a.answer.DeepCopy(), nil
	}
	a.stored = l.DeepCopy()
	return l, nil
}

// speaker is what an agent has to say of a kubelet's credential, and to whom.
type speaker struct {
	object
	message
	leases
	session *session
	now     *testclock.FakeClock
}

func newSpeaker(t testing.TB, api *leaseAPI) speaker {
	t.Helper()
	c := kubeletConfig("/srv")
	objects, err := c.objects()
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.Ed25519})
	if err != nil {
		t.Fatal(err)
	}
	state := &ack.State{SerialNumber: "0A", Contents: map[string]string{"kubelet-tls/ca.crt": "aa"}}
	now := testclock.NewFakeClock(at())
	return speaker{
		objects[0], message{report: ack.Report{UID: "uid", Host: c.Host, SignedBy: "0A", Installed: state}, key: key, request: "a request"},
		newLeases(c.Host), &session{leases: api, server: apitime.New(now)}, now,
	}
}

func (s speaker) speak(t testing.TB) (next time.Duration) {
	t.Helper()
	at, err := s.send(t.Context(), s.session, s.object, s.message, s.now.Now())
	if err != nil {
		t.Fatal(err)
	}
	return at.Sub(s.now.Now())
}

// mine says whether a Lease says what an agent has to say, so that an operator takes it, and holds it for the agent's host.
func (s speaker) mine(l *coordinationv1.Lease) bool {
	proof := ack.ProofOf(l, "uid", func(string) crypto.PublicKey { return s.key.Public() })
	return proof == ack.Signed && ack.Of(l).Same(s.report) && l.Annotations[v1alpha1.CSRAnnotation] == s.request
}

// FuzzLease has an agent read whatever stands in its Lease, and whatever is answered when it writes it: what it writes is what it has to say alone, signed,
// and it neither writes all the time nor falls silent.
func FuzzLease(f *testing.F) {
	for _, seed := range []string{
		"{}", `{"spec":{"leaseDurationSeconds":900,"holderIdentity":"k8s-node1","renewTime":"2026-11-28T08:00:00.000000Z"}}`,
		`{"spec":{"leaseDurationSeconds":1}}`, `{"spec":{"leaseDurationSeconds":2147483647}}`, `{"spec":{"leaseDurationSeconds":-5,"holderIdentity":"evil"}}`,
		`{"metadata":{"annotations":{"clusterpki.io/report":"{\"uid\":\"uid\"}","clusterpki.io/report-signature":"AAAA","clusterpki.io/csr":"x"}}}`,
	} {
		f.Add([]byte(seed), []byte(seed))
		f.Add([]byte(seed), []byte(nil))
	}
	written, err := json.Marshal(files.Object[coordinationv1.Lease](f, "lease.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(written, written)
	f.Fuzz(func(t *testing.T, stored, answer []byte) {
		api := &leaseAPI{stored: &coordinationv1.Lease{}}
		if json.Unmarshal(stored, api.stored) != nil {
			return
		}
		if len(answer) > 0 && json.Unmarshal(answer, &api.answer) != nil {
			return
		}
		s := newSpeaker(t, api)
		for range 3 {
			next := s.speak(t)
			if next < minLength/3 || next > maxSilence {
				t.Fatalf("it speaks again in %s", next)
			}
			s.now.Step(next)
		}
		if len(api.written) == 0 {
			t.Fatal("it says nothing")
		}
		for _, l := range api.written {
			if !s.mine(l) || *l.Spec.HolderIdentity != "k8s-node1" || l.Spec.RenewTime == nil {
				t.Errorf("it writes %+v", l)
			}
		}
	})
}

// TestLeaseOfOthers writes into the Lease of an agent what keeps it silent, or has it talk all the time: it says what it has to say again, five minutes
// later, and meanwhile it writes nothing.
func TestLeaseOfOthers(t *testing.T) {
	for name, write := range map[string]func(*coordinationv1.Lease, speaker){
		"a length of a week, and nothing else": func(*coordinationv1.Lease, speaker) {},
		"another report": func(l *coordinationv1.Lease, _ speaker) {
			l.Annotations[v1alpha1.ReportAnnotation] = `{"problem":"none"}`
		},
		"another signature": func(l *coordinationv1.Lease, _ speaker) {
			l.Annotations[v1alpha1.ReportSignatureAnnotation] = "AAAA"
		},
		"another request": func(l *coordinationv1.Lease, _ speaker) { l.Annotations[v1alpha1.CSRAnnotation] = "" },
		"the same, by another key": func(l *coordinationv1.Lease, s speaker) {
			other := newSpeaker(t, &leaseAPI{})
			texts, err := message{report: s.report, key: other.key, request: s.request}.texts(s.now.Now())
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(l.Annotations, texts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			long := int32(168 * 3600)
			api := &leaseAPI{stored: &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: &long}}}
			s := newSpeaker(t, api)
			s.speak(t)
			write(api.stored, s)
			s.now.Step(maxSilence - time.Second)
			if s.speak(t); len(api.written) != 1 || api.reads != 1 {
				t.Fatalf("%d writes and %d reads before there is anything to say", len(api.written), api.reads)
			}
			s.now.Step(time.Second)
			if s.speak(t); len(api.written) != 2 || !s.mine(api.stored) {
				t.Errorf("five minutes later, after %d writes, the Lease says %v", len(api.written), api.stored.Annotations)
			}
		})
	}
}
