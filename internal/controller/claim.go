package controller

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/visits"
)

// holds says whether an object of a UID exists and names a product: what was made for it then stays with it.
func (b *base) holds(ctx context.Context, product client.Object, kind string, uid types.UID) (owner string, holds bool, err error) {
	if kind == "ConfigMap" {
		return b.publishes(ctx, product, uid)
	}
	for _, k := range v1alpha1.Kinds() {
		list := k.NewList()
		err := b.client.List(ctx, list, client.InNamespace(product.GetNamespace()), client.MatchingFields{visits.SecretIndex: product.GetName()})
		if err != nil {
			return "", false, fmt.Errorf("look up who names %s %q: %w", kind, product.GetName(), err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return "", false, fmt.Errorf("read a list: %w", err)
		}
		for _, item := range items {
			if o, ours := item.(v1alpha1.Object); ours && o.GetUID() == uid {
				return fmt.Sprintf("%s %q", o.Kind(), o.GetName()), true, nil
			}
		}
	}
	return "", false, nil
}

// publishes says whether an object of a UID exists that publishes a ConfigMap: a ClusterCA its trust bundle, or a ServiceAccountKey its JSON Web Key Set.
func (b *base) publishes(ctx context.Context, product client.Object, uid types.UID) (string, bool, error) {
	for suffix, o := range map[string]v1alpha1.Object{
		v1alpha1.TrustConfigMapName(""):                     &v1alpha1.ClusterCA{},
		(&v1alpha1.ServiceAccountKey{}).JWKSConfigMapName(): &v1alpha1.ServiceAccountKey{},
	} {
		name, found := strings.CutSuffix(product.GetName(), suffix)
		if !found {
			continue
		}
		err := b.client.Get(ctx, client.ObjectKey{Namespace: product.GetNamespace(), Name: name}, o)
		if client.IgnoreNotFound(err) != nil {
			return "", false, fmt.Errorf("read %s %q: %w", o.Kind(), name, err)
		}
		if err == nil && o.GetUID() == uid {
			return fmt.Sprintf("%s %q", o.Kind(), name), true, nil
		}
	}
	return "", false, nil
}
