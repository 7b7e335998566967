package authority

import (
	"crypto/ed25519"

	"clusterpki.io/operator/internal/delivery"
)

// Open reads a document that the key has signed.
func (k *DeliveryKey) Open(text []byte) (delivery.Document, error) {
	d, _, err := delivery.Open([]ed25519.PublicKey{k.public()}, text)
	return d, err
}
