package ca

import (
	"context"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/test/given"
)

const keysNamespace = "clusterpki-authority"

// TestReserveAsksTheCacheFirst asks again and again for a key that another CA has: the API server is not asked. Where the cache lags
// behind, it is, once; and where a Secret there cannot be read, nobody knows whose the key is.
func TestReserveAsksTheCacheFirst(t *testing.T) {
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	pair, err := pki.SelfSign(noon, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	damaged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, Name: "ca.prod.damaged"}, Type: authority.SecretType}
	for name, tc := range map[string]struct {
		cached bool // the cache has the CA that has the key
		stored bool
		others []client.Object
		reason string
		lists  int
	}{
		"in use":                 {true, true, nil, v1alpha1.ReasonKeyInUse, 0},
		"in use since just now":  {false, true, nil, v1alpha1.ReasonKeyInUse, 1},
		"free":                   {false, false, nil, "", 1},
		"free, as far as can be": {false, false, []client.Object{damaged}, v1alpha1.ReasonLedgerUnreadable, 1},
	} {
		lists := 0
		live := interceptor.NewClient(fake.NewClientBuilder().WithObjects(tc.others...).Build(), interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
				lists++
				return c.List(ctx, l, opts...)
			},
		})
		empty := fake.NewClientBuilder().Build()
		if tc.stored {
			if _, err := authority.New(keysNamespace, live, nil).Create(t.Context(), stored(pair)); err != nil {
				t.Fatal(err)
			}
		}
		cache := client.Reader(empty)
		if tc.cached {
			cache = interceptor.NewClient(live, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
				lists--
				return c.List(ctx, l, opts...)
			}})
		}
		m := &Maker{Store: authority.New(keysNamespace, live, cache), Clock: apitime.Of(testingclock.NewFakePassiveClock(noon))}
		reason := ""
		err := m.reserve(t.Context(), given.CA("another"), pair)
		if st, ok := stall.Of(err); ok {
			reason = st.Reason
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if reason != tc.reason || lists != tc.lists {
			t.Errorf("%s: the reason is %q, after %d lists", name, reason, lists)
		}
	}
}

// stored is a CA as it is stored at first.
func stored(pair pki.CA) *authority.Record {
	next := (&authority.Record{}).Next()
	next.Identity = authority.Identity{Namespace: "prod", Name: "k8s", NamespaceUID: "n", UID: "u", HomeUID: "h"}
	generation := plan.Generation{Number: 1, SpecHash: "a", SHA256: pki.FingerprintOf(pair.Cert)}
	next.Ledger = plan.Bootstrap(time.Time{}, plan.Ledger{}, generation)
	next.CAs = map[int32]pki.CA{1: pair}
	return next
}

// TestLargeImportReservesNothing: what is too large to be stored leaves nothing in the authority namespace.
func TestLargeImportReservesNothing(t *testing.T) {
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	pair, err := pki.SelfSign(noon, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	live := fake.NewClientBuilder().Build()
	m := &Maker{Store: authority.New(keysNamespace, live, live), Clock: apitime.Of(testingclock.NewFakePassiveClock(noon))}
	next := stored(pair)
	large := next.CAs[1]
	large.Chain = slices.Repeat([]*x509.Certificate{pair.Cert}, authority.MaxChain+1)
	next.CAs[1] = large
	err = m.mayTake(t.Context(), given.CA("k8s"), next, target{imported: &large})
	if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonImportInvalid {
		t.Errorf("the error is %v", err)
	}
	var all corev1.SecretList
	if err := live.List(t.Context(), &all); err != nil || len(all.Items) > 0 {
		t.Errorf("%d Secrets are there: %v", len(all.Items), err)
	}
	next.CAs[1] = pair
	if err := m.mayTake(t.Context(), given.CA("k8s"), next, target{imported: &pair}); err != nil {
		t.Error(err)
	}
}
