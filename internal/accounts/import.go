package accounts

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/stall"
)

// maxImportKey bounds sa.key before it is parsed, in bytes: an RSA key of 8192 bits has 6.4 KiB.
const maxImportKey = 8 << 10

// imported reads keys that somebody else made, from the API server itself: the cache holds no Secrets of others. That Secret is in a user's hands:
// nothing is taken but what the spec names.
func (m *Maker) imported(ctx context.Context, k *v1alpha1.ServiceAccountKey) (keyring.Imported, error) {
	name, named := k.ImportSecretName(), k.Spec.Source.Import.PublicKeysSHA256
	refuse := func(format string, args ...any) (keyring.Imported, error) {
		return keyring.Imported{}, stall.Because(v1alpha1.ReasonImportInvalid,
			"Secret %q, from which the service account keys are to be imported, "+format, append([]any{name}, args...)...)
	}
	var s corev1.Secret
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		return refuse("does not exist: create it with the keys %s and %s", consumers.AccountPrivateKey, consumers.AccountPublicKey)
	case err != nil:
		return keyring.Imported{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	private, public := s.Data[consumers.AccountPrivateKey], s.Data[consumers.AccountPublicKey]
	switch digest := delivery.DigestOf(public); {
	case len(private) == 0 || len(public) == 0:
		return refuse("needs the keys %s and %s", consumers.AccountPrivateKey, consumers.AccountPublicKey)
	case s.Annotations[v1alpha1.ClaimAnnotation] != "":
		return refuse("was made by the operator: import keys that were made elsewhere")
	case digest != named:
		return refuse("holds another %s than spec.source.import.publicKeysSHA256 names: its SHA-256 is %s. Compare that with `sha256sum` of the file on a "+
			"control plane host; nothing is imported until the two agree", consumers.AccountPublicKey, digest)
	case len(private) > maxImportKey:
		return refuse("has a %s of more than %d KiB: use an RSA key of at most 8192 bits, or an ECDSA key", consumers.AccountPrivateKey, maxImportKey>>10)
	}
	keys, err := keyring.Import(private, public)
	if err != nil {
		return refuse("cannot be used: %v", err)
	}
	return keys, nil
}

// reserve makes sure that nothing else in the authority namespace has, or is about to have, one of the keys. The cache is asked first: who asks for
// a key that is in use asks again and again. Of two that ask at the same time, only one has reserved a key when it looks for the last time, at the API
// server itself.
func (m *Maker) reserve(ctx context.Context, k *v1alpha1.ServiceAccountKey, next *authority.AccountKeys) error {
	cas, err := m.Store.CachedAll(ctx)
	if err != nil {
		return err
	}
	keys, err := m.Store.CachedAllAccountKeys(ctx)
	if err != nil {
		return err
	}
	if err := keyInUse(k, next, cas, keys); err != nil {
		return err
	}
	for number := range next.Keys {
		// A name with a slash is no ClusterCA's.
		by, ok, err := m.Store.Reserve(ctx, k.Namespace, k.Kind()+"/"+k.Name, next.Public[number], m.Clock.Now(), m.Clock.Latest())
		if err != nil {
			return err
		}
		if !ok {
			return inUseBy(k, by.Namespace, by.Name)
		}
	}
	cas, damaged, err := m.Store.List(ctx)
	if err != nil {
		return err
	}
	keys, damagedKeys, err := m.Store.ListAccountKeys(ctx)
	if err != nil {
		return err
	}
	if n := len(damaged) + len(damagedKeys); n > 0 {
		return stall.Because(v1alpha1.ReasonLedgerUnreadable, "%d Secrets of the authority namespace cannot be read, and one of them may hold a key that "+
			"is to be imported: whoever administers the PKI finds them by `clusterpki authority list`, and restores them from a backup", n)
	}
	return keyInUse(k, next, cas, keys)
}

// keyInUse refuses a key that something else has: the two would be one, with two ledgers. A public key alone is everybody's to know, and nobody's to
// keep others from.
func keyInUse(k *v1alpha1.ServiceAccountKey, next *authority.AccountKeys, cas []*authority.Record, keys []*authority.AccountKeys) error {
	for number := range next.Keys {
		mine := next.Public[number]
		for _, other := range cas {
			for _, theirs := range other.CAs {
				if theirs.Cert != nil && pki.SamePublicKey(theirs.Cert.PublicKey, mine) {
					return inUseBy(k, other.Namespace, v1alpha1.KindClusterCA+"/"+other.Name)
				}
			}
		}
		for _, other := range keys {
			if other.Namespace == k.Namespace && other.Name == k.Name {
				continue
			}
			for theirs := range other.Keys {
				if pki.SamePublicKey(other.Public[theirs], mine) {
					return inUseBy(k, other.Namespace, k.Kind()+"/"+other.Name)
				}
			}
		}
	}
	return nil
}

// inUseBy names what has a key, if that is in the same namespace.
func inUseBy(k *v1alpha1.ServiceAccountKey, namespace, name string) error {
	whose := "another object, of another namespace,"
	if namespace == k.Namespace {
		whose = name
	}
	return stall.Because(v1alpha1.ReasonKeyInUse, "%s has one of these keys already: a key belongs to one object; let the API servers of one cluster name "+
		"the same ServiceAccountKey", whose)
}
