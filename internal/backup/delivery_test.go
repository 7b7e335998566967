package backup

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/authority"
)

// TestDeliveryKeyOfABackup takes the place of none, and of another one where a CA may be replaced, but never of one that came after it: hosts have
// retired it.
func TestDeliveryKeyOfABackup(t *testing.T) {
	const home = "clusterpki-authority"
	made := func() *authority.DeliveryKey {
		t.Helper()
		k, err := authority.New(home, fake.NewClientBuilder().Build(), nil).Delivery(t.Context(), "prod", "uid-of-prod")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	withNext := func(k *authority.DeliveryKey) *authority.DeliveryKey {
		t.Helper()
		k, err := k.WithNext(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, another := made(), made()
	both := withNext(first)
	second := both.Succeeded()
	third := withNext(second).Succeeded()
	replace := []authority.Ref{{Kind: authority.KindCA, NamespacedName: types.NamespacedName{Namespace: "prod", Name: "k8s"}}}
	for name, c := range map[string]struct {
		there, backup *authority.DeliveryKey
		replace       []authority.Ref
		want          *authority.DeliveryKey // nil: it is refused
	}{
		"none there":                       {nil, first, nil, first},
		"the same":                         {first, first, nil, first},
		"changed over since":               {second, both, nil, second},
		"from before there was a next one": {second, first, nil, second},
		"from two before":                  {third, first, nil, third},
		"from before, with --replace":      {second, first, replace, second},
		"from two before, with --replace":  {third, both, replace, third},
		"another":                          {another, first, nil, nil},
		"another, with --replace":          {another, first, replace, first},
		"of another namespace":             {third.Rebound("prod", "uid-before"), first, replace, nil},
	} {
		t.Run(name, func(t *testing.T) {
			api := fake.NewClientBuilder().WithObjects(
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home, UID: "uid-of-home"}},
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod", UID: "uid-of-prod"}},
			).Build()
			store := authority.New(home, api, nil)
			if c.there != nil {
				if err := store.CreateDelivery(t.Context(), c.there.Rebound("prod", c.there.NamespaceUID)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Target{Client: api, AuthorityNamespace: home, Replace: c.replace}.Restore(t.Context(), Archive{Deliveries: []*authority.DeliveryKey{c.backup}})
			if _, refused := errors.AsType[*ExistsError](err); refused != (c.want == nil) || err != nil && !refused {
				t.Fatalf("%v", err)
			}
			want := c.want
			if want == nil {
				want = c.there
			}
			if now, err := store.StoredDelivery(t.Context(), "prod"); err != nil || !now.SameAs(want) {
				t.Errorf("there is %s, want %s, %v", now.ID(), want.ID(), err)
			}
		})
	}
}
