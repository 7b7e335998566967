package owned

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The kinds of what the operator makes, as Writes know them.
const (
	SecretKind    = "Secret"
	ConfigMapKind = "ConfigMap"
	LeaseKind     = "Lease"
)

// ErrBehind says that the cache has an object, or a Secret of its, as it was before this operator wrote it: nothing is to be
// done, because the event of that is on its way, and brings another visit.
var ErrBehind = errors.New("the cache is behind")

// Secrets reads the Secrets that the operator made.
type Secrets struct {
	Cache client.Reader
	API   client.Reader // the API server itself
	Wrote *Writes
}

// Live reads a Secret from the API server itself: the cache knows only labelled ones, and may lag. nil: there is none.
func (s Secrets) Live(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return readSecret(ctx, s.API, namespace, name)
}

// Cached reads a Secret of ours, as it was noted, from the cache; nil where it holds none of this name. It fails with ErrBehind where the cache
// does not have yet what this operator wrote.
func (s Secrets) Cached(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	found, err := readSecret(ctx, s.Cache, namespace, name)
	switch {
	case err != nil:
		return nil, err
	case found != nil && s.Wrote.Newer(SecretKind, found), found == nil && s.Wrote.coming(client.ObjectKey{Namespace: namespace, Name: name}):
		return nil, fmt.Errorf("read Secret %q: %w", name, ErrBehind)
	case found != nil && IsCut(found):
		if found, err = s.Live(ctx, namespace, name); found == nil {
			return nil, err
		}
		return Noted(found), nil
	default:
		return found, nil
	}
}

func readSecret(ctx context.Context, from client.Reader, namespace, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	return &s, nil
}
