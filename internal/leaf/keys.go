package leaf

import (
	"context"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Keys gives the private keys that certificates are issued for. One key is given once.
type Keys interface {
	// Key gives a key of a kind for an object. An error may say that it is being made: then nothing is issued, and whoever makes
	// it has the object visited again.
	Key(ctx context.Context, owner v1alpha1.Object, spec pki.KeySpec) (pki.PrivateKey, error)
}
