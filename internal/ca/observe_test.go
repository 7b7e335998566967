package ca

import (
	"bytes"
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/internal/owned"
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
