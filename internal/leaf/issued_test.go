package leaf_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// passes lets time pass.
func (w *world) passes(d time.Duration) {
	w.Clock = apitime.Of(clocktesting.NewFakePassiveClock(w.Clock.Now().Add(d)))
}

// quiet lets so much time pass that nobody remembers any repair.
func (w *world) quiet() { w.passes(time.Hour) }

// makes is what a visit does about what is there.
func (w *world) makes(r leaf.Request) (leaf.State, error) {
	w.t.Helper()
	var there *corev1.Secret
	if w.secret() != nil {
		there = w.noted()
	}
	return w.Make(ctx, r, there)
}

// TestRepairsArePaced, whatever somebody does to the Secret, and however it is delivered. What the spec's owner edits is issued at once.
func TestRepairsArePaced(t *testing.T) {
	byAgent := consumers.Acknowledgment{Agent: &ack.State{}}
	for name, tc := range map[string]struct {
		consumers.Acknowledgment
		write func(w *world, first *corev1.Secret)
	}{
		"deleted": {byAgent, func(w *world, _ *corev1.Secret) {
			if s := w.secret(); s != nil {
				if err := w.api.Delete(ctx, s); err != nil {
					w.t.Fatal(err)
				}
			}
		}},
		"damaged": {byAgent, func(w *world, _ *corev1.Secret) {
			w.edit(func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("damaged") })
		}},
		"put back, with its claim": {byAgent, func(w *world, first *corev1.Secret) {
			w.edit(func(s *corev1.Secret) { s.Data, s.Annotations = first.Data, first.Annotations })
		}},
		"put back, of another spec, where it is mounted": {consumers.Undelivered, func(w *world, first *corev1.Secret) {
			w.edit(func(s *corev1.Secret) { s.Data, s.Annotations = first.Data, first.Annotations })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Records = &notes{published: func() bool { return false }}
			r := w.toAgent()
			r.Acknowledgment = tc.Acknowledgment
			w.visit(r)
			first := w.secret()
			r.Desired.Spec.Validity += time.Hour
			w.visit(r)
			tc.write(w, first)
			if st, err := w.makes(r); err != nil || !st.Issued {
				t.Fatalf("the first repair: %+v, %v", st.Decision, err)
			}
			keys := w.keys.asked
			for range 5 {
				tc.write(w, first)
				st, err := w.makes(r)
				if err != nil || !st.RepairDelayed() || !st.Decision.NextCheck.Equal(now.Truncate(time.Second).Add(10*time.Second)) {
					t.Fatalf("the next one: %+v, %v", st.Decision, err)
				}
			}
			if w.keys.asked != keys {
				t.Errorf("it took %d keys", w.keys.asked-keys)
			}
			w.passes(10 * time.Second)
			if st, err := w.makes(r); err != nil || !st.Issued {
				t.Errorf("when its time has come: %+v, %v", st.Decision, err)
			}
			tc.write(w, first)
			if st, err := w.makes(r); err != nil || !st.RepairDelayed() {
				t.Errorf("the one after that: %+v, %v", st.Decision, err)
			}
			r.Desired.Spec.Validity += time.Hour
			if st, err := w.makes(r); err != nil || !st.Issued {
				t.Errorf("the spec was edited: %+v, %v", st.Decision, err)
			}
		})
	}
}

// TestDelayedIsNotSigned: what is to be signed may change while a repair waits, and what somebody has put there is not signed with it.
func TestDelayedIsNotSigned(t *testing.T) {
	w := newWorld(t)
	r := w.toAgent()
	r.Acknowledgment = consumers.Undelivered // so that no record says whose certificate it is
	w.visit(r)
	first := w.secret()
	r.Desired.Spec.Validity += time.Hour
	w.visit(r)
	for range 2 {
		w.edit(func(s *corev1.Secret) { s.Data, s.Annotations = first.Data, first.Annotations })
		r.Delivery.Kubeconfig.Server += "0"
		w.visit(r)
	}
	if d := w.signed(); d.Holds("tls.crt", first.Data["tls.crt"]) && d.Kubeconfig.Server == r.Delivery.Kubeconfig.Server {
		t.Error("it is signed anew")
	}
}

// TestRefusedCostsOneKey: what cannot be stored is stored later, as it was signed and recorded, unless it would not do any more or the operator
// starts anew. Whoever makes an object of the same name gets another one.
func TestRefusedCostsOneKey(t *testing.T) {
	w := newWorld(t)
	n := &notes{published: func() bool { return false }}
	w.Records = n
	refused := errors.New("refused")
	w.keeper.Client = interceptor.NewClient(w.api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if refused != nil {
				return refused
			}
			return c.Create(ctx, o, opts...)
		},
	})
	r := w.request()
	r.Acknowledgment = consumers.Acknowledgment{Agent: &ack.State{}}
	costs := func(what string, want int) {
		t.Helper()
		for range 5 {
			if st, err := w.makes(r); !errors.Is(err, refused) || st.Issued {
				t.Fatalf("%s: %+v, %v", what, st.Decision, err)
			}
			w.passes(time.Minute)
		}
		if w.keys.asked != want || len(n.issues) != want {
			t.Errorf("%s: there are %d keys and %d records", what, w.keys.asked, len(n.issues))
		}
	}
	costs("refused", 1)
	r.Desired.Spec.Validity += time.Hour
	costs("another spec", 2)
	r.Secret = "other-tls"
	costs("another Secret", 3)
	r.Secret = "node1-tls"
	costs("the Secret of before", 4)
	w.passes(23 * time.Hour)
	costs("it would be renewed by now", 5)
	w.Forget(v1alpha1.KindNodeCredential, client.ObjectKeyFromObject(r.Owner))
	costs("the object is gone", 6)
	refused = nil
	st, err := w.makes(r)
	if err != nil || !st.Issued || st.Decision.Reason != plan.SecretMissing || w.keys.asked != 6 || n.issues[5].SerialNumber != pki.SerialOf(st.Observed.Leaf.Cert) {
		t.Errorf("when it can be stored: %+v, %v, after %d keys", st.Decision, err, w.keys.asked)
	}
	if st, err = w.makes(r); err != nil || st.Decision.Action != plan.Keep {
		t.Errorf("what is stored: %+v, %v", st.Decision, err)
	}
}

// TestStoredAfterAll: the answer to a write was lost. Whoever deletes what was stored wants another key, and gets one.
func TestStoredAfterAll(t *testing.T) {
	w := newWorld(t)
	lost := errors.New("the connection was lost")
	w.keeper.Client = interceptor.NewClient(w.api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return errors.Join(c.Create(ctx, o, opts...), lost)
		},
	})
	r := w.request()
	if st, err := w.makes(r); !errors.Is(err, lost) || st.Issued {
		t.Fatalf("%+v, %v", st.Decision, err)
	}
	first := w.secret()
	if st, err := w.makes(r); err != nil || st.Decision.Action != plan.Keep {
		t.Fatalf("%+v, %v", st.Decision, err)
	}
	lost = nil
	if err := w.api.Delete(ctx, first); err != nil {
		t.Fatal(err)
	}
	w.visit(r)
	if string(w.secret().Data["tls.key"]) == string(first.Data["tls.key"]) {
		t.Error("it is the key that somebody wanted to be rid of")
	}
}

// TestBundlesBesideADamagedPair: they are repaired while no other pair is issued. Whoever damages one would keep a bundle of his choice there.
func TestBundlesBesideADamagedPair(t *testing.T) {
	for name, when := range map[string]func(*world, *leaf.Request){
		"its repair is delayed": func(w *world, r *leaf.Request) {
			w.edit(func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("x") })
			w.visit(*r)
		},
		"the spec is refused":   func(_ *world, r *leaf.Request) { r.Invalid = errors.New("denied") },
		"the key is being made": func(w *world, _ *leaf.Request) { w.Keys = slowKeys{} },
	} {
		for _, damaged := range []string{"tls.crt", "tls.key"} {
			w := newWorld(t)
			r := w.request()
			r.Acknowledgment = consumers.Acknowledgment{Mounted: true}
			w.visit(r)
			good := string(w.secret().Data["ca.crt"])
			when(w, &r)
			w.edit(func(s *corev1.Secret) { s.Data["ca.crt"], s.Data[damaged] = []byte("mine"), []byte("x") })
			st, err := w.makes(r)
			if now := w.secret().Data; string(now["ca.crt"]) != good || string(now[damaged]) != "x" {
				t.Errorf("%s, %s damaged: ca.crt is %q, %v %v", name, damaged, now["ca.crt"], st.Decision, err)
			}
		}
	}
}

// slowKeys are keys that are being made.
type slowKeys struct{}

func (slowKeys) Key(context.Context, v1alpha1.Object, pki.KeySpec) (pki.PrivateKey, error) {
	return pki.PrivateKey{}, pki.ErrKeyPending
}

// TestRenewalsAskedForArePaced: who changes the trigger in a loop has no more issued than who deletes the Secret; what is there is used meanwhile.
func TestRenewalsAskedForArePaced(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	for n, after := range []time.Duration{0, 10 * time.Second, 20 * time.Second} {
		r := w.toAgent()
		r.Desired.RenewalTrigger = fmt.Sprint("text ", n)
		if after > 0 {
			w.passes(after - time.Second)
			st, err := w.makes(r)
			if err != nil || st.Issued || !st.Renderable() || !st.Decision.NextCheck.Equal(w.Clock.Now().Add(time.Second).Truncate(time.Second)) {
				t.Errorf("a second before %s: issued: %t, %v, next at %s", after, st.Issued, err, st.Decision.NextCheck)
			}
			w.passes(time.Second)
		}
		if st, err := w.makes(r); err != nil || !st.Issued {
			t.Errorf("after %s: issued: %t, %v", after, st.Issued, err)
		}
	}
}
