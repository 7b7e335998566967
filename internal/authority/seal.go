package authority

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The Secret of the key by which the operator knows again what it wrote into users' namespaces.
const (
	SealSecretName                   = "seal"
	SealSecretType corev1.SecretType = "clusterpki.io/seal"
	sealDataKey                      = "key"
	sealBytes                        = 32
)

// Seal proves that the operator wrote a text: nobody who cannot read the authority namespace can make one (HMAC-SHA-256,
// RFC 2104).
type Seal struct{ key []byte }

// Of is the seal of some texts, in hexadecimal.
func (s Seal) Of(texts ...string) string {
	mac := hmac.New(sha256.New, s.key)
	for _, t := range texts {
		fmt.Fprintf(mac, "%d:%s", len(t), t) // never fails
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// Fits says whether a seal is that of some texts.
func (s Seal) Fits(seal string, texts ...string) bool {
	return len(s.key) == sealBytes && hmac.Equal([]byte(seal), []byte(s.Of(texts...)))
}

// sealer holds the seal once it was read.
type sealer struct {
	mu       sync.Mutex
	seal     Seal
	read     time.Time
	recalled time.Time // when Recall last read it
	unknown  bool      // Recall could not
}

// sealLasts is for how long a seal is used before it is read again.
const sealLasts = time.Minute

// Seal reads the key of seals, or makes it once.
func (s *Store) Seal(ctx context.Context) (Seal, error) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	known := len(s.sealer.seal.key) > 0
	if known && time.Since(s.sealer.read) < sealLasts { //nolint:forbidigo // how long ago, not what time it is
		return s.sealer.seal, nil
	}
	read := s.readSeal
	if known { // it is read again, for it may have been restored, and is never made twice
		read = s.storedSeal
	}
	switch key, err := read(ctx); {
	case err == nil:
		s.sealer.seal = Seal{key}
	case !known:
		return Seal{}, err
	}
	s.sealer.read = time.Now() //nolint:forbidigo // as above
	return s.sealer.seal, nil
}

// recallLasts is for how long what Recall has read is not read again.
const recallLasts = 5 * time.Second

// Recall is the key of seals as it is known, or, again, as it is stored; it is never made. What is not there fits nothing. ok is false where it could not
// be read.
func (s *Store) Recall(ctx context.Context, again bool) (seal Seal, ok bool) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if len(s.sealer.seal.key) > 0 && !again {
		return s.sealer.seal, true
	}
	if time.Since(s.sealer.recalled) >= recallLasts { //nolint:forbidigo // how long ago, not what time it is
		key, err := s.storedSeal(ctx)
		s.sealer.recalled, s.sealer.unknown = time.Now(), client.IgnoreNotFound(err) != nil //nolint:forbidigo // as above
		if err == nil {
			s.sealer.seal = Seal{key}
		}
	}
	return s.sealer.seal, !s.sealer.unknown
}

// readSeal reads the key of seals, or makes it.
func (s *Store) readSeal(ctx context.Context) ([]byte, error) {
	stored, err := s.storedSeal(ctx)
	if !apierrors.IsNotFound(err) {
		return stored, err
	}
	key := make([]byte, sealBytes)
	rand.Read(key) // never fails
	err = s.live.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SealSecretName},
		Type:       SealSecretType, Data: map[string][]byte{sealDataKey: key},
	})
	if apierrors.IsAlreadyExists(err) {
		return s.storedSeal(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("make the key of seals in the authority namespace: %w", err)
	}
	return key, nil
}

func (s *Store) storedSeal(ctx context.Context) ([]byte, error) {
	secret := &corev1.Secret{}
	if err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: SealSecretName}, secret); err != nil {
		return nil, fmt.Errorf("read the key of seals in the authority namespace: %w", err)
	}
	seal, err := SealOf(secret)
	return seal.key, err
}

// SealOf reads the Secret of the key of seals.
func SealOf(s *corev1.Secret) (Seal, error) {
	if key := s.Data[sealDataKey]; s.Type == SealSecretType && len(key) == sealBytes {
		return Seal{key}, nil
	}
	return Seal{}, fmt.Errorf("the authority namespace's Secret %q holds no key of seals: restore it from a backup", SealSecretName)
}
