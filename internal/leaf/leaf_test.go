package leaf_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

const home = "clusterpki-authority"

var (
	ctx  = context.Background()
	now  = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	p256 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
)

// world is a maker before an API server that notes what it is asked.
type world struct {
	*leaf.Maker
	t      *testing.T
	api    client.WithWatch
	keeper *owned.Keeper
	asked  []string // writes, and reads of the authority namespace
	keys   keys
}

// keys counts the keys that were asked for, or has none.
type keys struct {
	asked int
	err   error
}

func (k *keys) Key(_ context.Context, _ v1alpha1.Object, spec pki.KeySpec) (pki.PrivateKey, error) {
	k.asked++
	if k.err != nil {
		return pki.PrivateKey{}, k.err
	}
	return pki.GenerateKey(spec)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	note := func(verb string, o client.Object) {
		w.asked = append(w.asked, verb+" "+o.GetName())
	}
	w.api = fake.NewClientBuilder().WithScheme(s).WithObjects(
		&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s", UID: "ca"}},
	).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			note("create", o)
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			note("patch", o)
			return c.Patch(ctx, o, patch, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if key.Namespace == home {
				w.asked = append(w.asked, "read "+key.Name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	store := authority.New(home, w.api, nil)
	w.begin(store)
	seal, err := store.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.keeper = &owned.Keeper{Client: w.api, Seal: seal, Holds: func(context.Context, client.Object, string, types.UID) (string, bool, error) {
		return "", false, nil
	}}
	w.Maker = &leaf.Maker{
		Issuers: leaf.Issuers{Client: w.api, Store: store, Clock: apitime.Of(clocktesting.NewFakePassiveClock(now)), Home: func() string { return "home" }},
		Secrets: owned.Secrets{Cache: w.api, API: w.api, Wrote: &owned.Writes{}}, Keys: &w.keys,
		Records: &notes{published: w.there},
	}
	w.asked = nil
	return w
}

// begin makes the CA.
func (w *world) begin(store *authority.Store) {
	w.t.Helper()
	ca, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s"}, Key: p256, Validity: 1000 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = store.Create(ctx, &authority.Record{
		Identity: authority.Identity{Namespace: "prod", Name: "k8s", NamespaceUID: "ns", CRDUID: "crd", UID: "ca", HomeUID: "home"},
		Ledger: plan.Bootstrap(now, plan.Ledger{}, plan.Generation{
			Number: 1, SpecHash: "a", SHA256: pki.FingerprintOf(ca.Cert), Anchor: pki.IdentityOf(ca.Cert), Root: true,
		}),
		CAs: map[int32]pki.CA{1: ca},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) request() leaf.Request {
	return leaf.Request{
		Owner:  &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "node1", UID: "node1"}},
		Secret: "node1-tls", CA: "k8s", Keeper: w.keeper, Acknowledgment: consumers.Acknowledgment{Mounted: true},
		Desired: plan.Desired{Spec: pki.CertificateSpec{
			Subject: pki.Subject{CommonName: "system:node:node1"}, Usages: []pki.Usage{pki.ClientAuth}, Key: p256, Validity: 24 * time.Hour,
		}},
	}
}

// noted is the Secret as the cache would have it.
func (w *world) noted() *corev1.Secret {
	w.t.Helper()
	return owned.Noted(w.secret())
}

// secret is what is stored, nil where nothing is.
func (w *world) secret() *corev1.Secret {
	w.t.Helper()
	s, err := w.Secrets.Live(ctx, "prod", "node1-tls")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestMake issues once: with one key and one write. What is there is left alone then, without a key, a write or the CA's key.
func TestMake(t *testing.T) {
	w := newWorld(t)
	st, err := w.Make(ctx, w.request(), nil)
	if err != nil || !st.Issued || st.Decision.Reason != plan.SecretMissing || w.Usable(st) != nil {
		t.Fatalf("%+v: %v", st.Decision, err)
	}
	if w.keys.asked != 1 || !slices.Equal(w.asked, []string{"read ca.prod.k8s", "create node1-tls"}) {
		t.Errorf("it took %d keys and %v", w.keys.asked, w.asked)
	}
	stored, err := pki.ParseLeaf(w.secret().Data["tls.crt"], w.secret().Data["tls.key"])
	if err != nil || !stored.Cert.Equal(st.Observed.Leaf.Cert) || stored.Verify(now, st.Issuer.Roots) != nil {
		t.Errorf("what is stored is not what was issued: %v", err)
	}
	w.asked = nil
	again, err := w.Make(ctx, w.request(), w.noted())
	if err != nil || again.Issued || again.Decision.NextCheck != st.Decision.NextCheck || w.Usable(again) != nil {
		t.Errorf("the second visit: %+v: %v", again.Decision, err)
	}
	if w.keys.asked != 1 || slices.ContainsFunc(w.asked, func(a string) bool { return !strings.HasPrefix(a, "read ") }) {
		t.Errorf("the second visit took %d keys and %v", w.keys.asked, w.asked)
	}
}

// TestKeyAwaited: as long as there is no key nothing is signed or written, and what stands there stays.
func TestKeyAwaited(t *testing.T) {
	w := newWorld(t)
	w.keys.err = errors.New("it is being made")
	if st, err := w.Make(ctx, w.request(), nil); !errors.Is(err, w.keys.err) || st.Issued || w.secret() != nil {
		t.Errorf("%+v: %v", st, err)
	}
	w.keys.err = nil
	if st, err := w.Make(ctx, w.request(), nil); err != nil || !st.Issued {
		t.Errorf("once the key is there: %+v: %v", st.Decision, err)
	}
}

// TestIssuerHoldsNoKey: who decides never has the key of a CA; the signer signs for what it was given.
func TestIssuerHoldsNoKey(t *testing.T) {
	w := newWorld(t)
	iss, err := w.Live(ctx, "prod", "k8s")
	if err != nil || iss.Signer == nil || iss.CA == nil {
		t.Fatalf("%+v: %v", iss, err)
	}
	if iss.CA.Key.Public() != nil {
		t.Error("an issuer holds the key of its CA")
	}
	key, err := pki.GenerateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := iss.Signer.Sign(ctx, now, w.request().Desired.Spec, key.Public())
	if err != nil || !pki.SamePublicKey(signed.Cert.PublicKey, key.Public()) || !signed.IssuedBy(*iss.CA) {
		t.Errorf("it signed something else: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := iss.Signer.Sign(ended, now, w.request().Desired.Spec, key.Public()); !errors.Is(err, context.Canceled) {
		t.Errorf("it signed when nobody waited any more: %v", err)
	}
}

// TestMakeRefuses leaves somebody else's Secret alone, and spends no key on what cannot be issued.
func TestMakeRefuses(t *testing.T) {
	w := newWorld(t)
	r := w.request()
	r.Desired.Spec.Subject.CommonName = "k8s"
	if _, err := w.Make(ctx, r, nil); reasonOf(err) != v1alpha1.ReasonSubjectEqualsIssuer || w.keys.asked != 0 {
		t.Errorf("the name of the CA: %v, after %d keys", err, w.keys.asked)
	}
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "node1-tls"}, Data: map[string][]byte{"x": []byte("y")}}
	if err := w.api.Create(ctx, foreign); err != nil {
		t.Fatal(err)
	}
	for name, existing := range map[string]*corev1.Secret{"that the cache knows": foreign, "that the cache does not know": nil} {
		if st, err := w.Make(ctx, w.request(), existing); reasonOf(err) != v1alpha1.ReasonSecretConflict || st.Issued {
			t.Errorf("somebody else's Secret %s: %v", name, err)
		}
	}
	if s := w.secret(); string(s.Data["x"]) != "y" || len(s.Data) != 1 || len(s.Annotations) > 0 {
		t.Errorf("somebody else's Secret was changed: %+v", s)
	}
}

func reasonOf(err error) string {
	if st, ok := stall.Of(err); ok {
		return st.Reason
	}
	return ""
}
