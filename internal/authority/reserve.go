package authority

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/pki/plan"
)

// KeySecretType is the type of a Secret that says which CA is about to have, or has, a key that was made elsewhere. It holds no key.
const KeySecretType corev1.SecretType = "clusterpki.io/key"

const reservationKey = "reservation.json"

// Reservation says for which CA a key is reserved, and since when.
type Reservation struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Since     time.Time `json:"since"`
}

// reservationLasts is for how long nobody else may have a key that was reserved, although no CA holds it yet: whoever reserved it
// stores the CA within plan.LongestWrite, or begins anew. Twice that, because a write that was sent may still be on its way then.
const reservationLasts = 2 * plan.LongestWrite

// Reserve reserves a key for a CA. Where it is another one's, ok is false, and nothing is written. now is the earliest that it may be, and
// latest the latest. Whoever has reserved a key still has to look whether a CA holds it: one that was restored has reserved none.
func (s *Store) Reserve(ctx context.Context, namespace, name string, key crypto.PublicKey, now, latest time.Time) (by Reservation, ok bool, err error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return by, false, fmt.Errorf("encode the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	mine := Reservation{Namespace: namespace, Name: name, Since: latest.UTC()}
	text, err := json.Marshal(mine)
	if err != nil {
		return by, false, fmt.Errorf("encode a reservation: %w", err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "key." + hex.EncodeToString(sum[:])},
		Type:       KeySecretType, Data: map[string][]byte{reservationKey: text},
	}
	if err = s.live.Create(ctx, secret); err == nil {
		return mine, true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return by, false, fmt.Errorf("reserve a key: %w", err)
	}
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return by, false, fmt.Errorf("see for which CA a key is reserved: %w", err)
	}
	if by, err = ReservationOf(secret); err != nil {
		return by, false, err
	}
	lasts := now.Before(by.Since.Add(reservationLasts)) && by.Since.Before(latest.Add(reservationLasts)) // a clock may have been wrong
	switch own := by.Namespace == namespace && by.Name == name; {
	case !own && lasts:
		return by, false, nil
	case own && lasts && now.Before(by.Since.Add(reservationLasts/2)): // it need not be written again and again
		return by, true, nil
	}
	secret.Data = map[string][]byte{reservationKey: text}
	if err := s.live.Update(ctx, secret); err != nil { // under the resourceVersion that was read
		return by, false, fmt.Errorf("reserve a key: %w", err)
	}
	return mine, true, nil
}

// ReservationOf reads the Secret of a reservation.
func ReservationOf(s *corev1.Secret) (by Reservation, err error) {
	if s.Type != KeySecretType || json.Unmarshal(s.Data[reservationKey], &by) != nil || by.Namespace == "" || by.Name == "" {
		return Reservation{}, fmt.Errorf("the authority namespace's Secret %q is damaged: delete it", s.Name)
	}
	return by, nil
}
