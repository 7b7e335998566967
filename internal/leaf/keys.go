package leaf

import (
	"context"
	"errors"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Keys gives the private keys that certificates are issued for. One key is given once.
type Keys interface {
	// Key gives a key of a kind for an object, or ErrKeyAwaited.
	Key(ctx context.Context, owner v1alpha1.Object, spec pki.KeySpec) (pki.PrivateKey, error)
}

// ErrKeyAwaited says that the key of an object is being made. Whoever makes it has the object visited again.
var ErrKeyAwaited = errors.New("the private key is being made")

// Inline makes each key when it is asked for.
type Inline struct{}

// Key implements Keys.
func (Inline) Key(_ context.Context, _ v1alpha1.Object, spec pki.KeySpec) (pki.PrivateKey, error) {
	return pki.GenerateKey(spec)
}
