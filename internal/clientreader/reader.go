// Package clientreader reads a namespace by a client of controller-runtime, for packages that do not bring one along.
package clientreader

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// Reader reads by a client.
type Reader struct{ Client client.Reader }

// List reads all objects of a kind.
func (r Reader) List(ctx context.Context, namespace string, into v1alpha1.ObjectList) error {
	if err := r.Client.List(ctx, into, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the objects of namespace %q: %w", namespace, err)
	}
	return nil
}

// Secret reads a Secret.
func (r Reader) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
	return &s, err //nolint:wrapcheck // callers look at what it is
}
