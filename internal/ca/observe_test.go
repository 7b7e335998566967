package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/records"
)

// TestLargeObjectsAreReadInSmallPages: a cache that has left a part of an object out says so.
func TestLargeObjectsAreReadInSmallPages(t *testing.T) {
	var limits []int64
	for _, size := range []int{1 << 10, 1 << 20} {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "a"}, Data: map[string][]byte{"x": bytes.Repeat([]byte("x"), size)}}
		cached, err := (&owned.Cache{}).Transform(s.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		before := &scan{from: fake.NewClientBuilder().WithObjects(cached.(client.Object)).Build(), namespace: "prod"}
		if err := pages(t.Context(), before, newList[corev1.SecretList], nil, func(*corev1.SecretList) {}); err != nil {
			t.Fatal(err)
		}
		api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
			List: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, opts ...client.ListOption) error {
				limits = append(limits, (&client.ListOptions{}).ApplyOptions(opts).Limit)
				return nil
			},
		})
		if err := pages(t.Context(), liveScan(api, "prod", before.large), newList[corev1.SecretList], nil, func(*corev1.SecretList) {}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(limits, []int64{perPage, perLargePage}) {
		t.Errorf("pages are of %v", limits)
	}
}

// TestWhatIsNamedIsReadWhole: a cache may have cut what the operator made, as where its seal was restored since. A gate looks at what an object names all
// the same, and asks for nothing that anybody else made.
func TestWhatIsNamedIsReadWhole(t *testing.T) {
	seal := testSeal{}
	claimed := func(o client.Object, kind, name string) client.Object {
		o.SetNamespace("prod")
		o.SetName(name)
		o.SetLabels(map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue})
		o.SetAnnotations(map[string]string{v1alpha1.ClaimAnnotation: consumers.Claim{UID: "node1"}.Text(seal, kind, "prod", name)})
		return o
	}
	var there, cached []client.Object
	for _, name := range []string{"node1-tls", "others"} {
		there = append(there, claimed(&corev1.Secret{}, "Secret", name), claimed(&coordinationv1.Lease{}, "Lease", name))
	}
	for _, o := range there {
		cut, err := (&owned.Cache{Seal: func(bool) (consumers.Sealer, bool) { return authority.Seal{}, true }}).Transform(o.DeepCopyObject())
		if err != nil {
			t.Fatal(err)
		}
		cached = append(cached, cut.(client.Object))
	}
	var read []string
	live := interceptor.NewClient(fake.NewClientBuilder().WithObjects(there...).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			read = append(read, key.Name)
			return c.Get(ctx, key, o, opts...)
		},
	})
	reported := 0
	m := &Maker{
		Live: live, Secrets: owned.Secrets{API: live}, Reader: &consumers.Reader{},
		Reported: func(context.Context, *coordinationv1.Lease, records.Object) (consumers.Reported, error) {
			reported++
			return consumers.Reported{}, nil
		},
	}
	in := consumers.Inputs{Leases: map[consumers.LeaseKey]consumers.Reported{}, Credentials: []v1alpha1.NodeCredential{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "node1", UID: "node1"}},
	}}
	s := &scan{from: fake.NewClientBuilder().WithObjects(cached...).Build(), namespace: "prod"}
	if err := m.products(t.Context(), s, &owned.Keeper{Seal: seal}, &in); err != nil {
		t.Fatal(err)
	}
	for _, p := range in.Products {
		if p.Claimed != (p.Name == "node1-tls") {
			t.Errorf("%s is claimed: %t", p.Name, p.Claimed)
		}
	}
	if len(in.Products) != 2 || reported != 1 || !slices.Equal(read, []string{"node1-tls", "node1-tls"}) {
		t.Errorf("%d Secrets and %d Leases are known, and read are %q", len(in.Products), reported, read)
	}
}

type testSeal struct{}

func (testSeal) Of(texts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q", texts)))
}
func (s testSeal) Fits(seal string, texts ...string) bool { return seal == s.Of(texts...) }
