package controller

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/visits"
)

// holds says whether an object of a UID exists and names a product: what was made for it then stays with it. Service account keys
// stay with whoever names them.
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
			o, ours := item.(v1alpha1.Object)
			// Several API servers share service account keys, and whichever made them may be gone.
			server, serves := item.(*v1alpha1.APIServerCertificate)
			if ours && (o.GetUID() == uid || serves && server.ServiceAccountSecretName() == product.GetName()) {
				return fmt.Sprintf("%s %q", o.Kind(), o.GetName()), true, nil
			}
		}
	}
	return "", false, nil
}

// publishes says whether a ClusterCA of a UID exists whose trust bundle a ConfigMap holds.
func (b *base) publishes(ctx context.Context, product client.Object, uid types.UID) (string, bool, error) {
	name, found := strings.CutSuffix(product.GetName(), v1alpha1.TrustConfigMapName(""))
	if !found {
		return "", false, nil
	}
	var ca v1alpha1.ClusterCA
	err := b.client.Get(ctx, client.ObjectKey{Namespace: product.GetNamespace(), Name: name}, &ca)
	if apierrors.IsNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read ClusterCA %q: %w", name, err)
	}
	return fmt.Sprintf("ClusterCA %q", name), ca.UID == uid, nil
}
