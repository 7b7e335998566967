package delivery

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
)

// signingContext stands before what is signed, so that no signature of another kind can be taken for one of a document.
const signingContext = "clusterpki.io delivery v1\x00"

// envelope is a document as it is stored: the bytes that were signed, and by which key.
type envelope struct {
	KeyID     string `json:"keyID"`
	Document  []byte `json:"document"`
	Signature []byte `json:"signature"`
}

// KeyID names a public key: the SHA-256 of its SubjectPublicKeyInfo, cut to 16 bytes, in hexadecimal. It only chooses among the keys that are
// trusted.
func KeyID(key ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "" // a key of Ed25519 can be encoded
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:16])
}

// publicBlock is the type of a PEM block.
const publicBlock = "PUBLIC KEY"

// EncodePublic is a public key as PEM.
func EncodePublic(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), nil
}

// ParsePublic reads what EncodePublic wrote.
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != publicBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not one PEM block of type PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read a public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("it is no public key of Ed25519")
	}
	return key, nil
}

// Sign makes of a document what is stored.
func Sign(key ed25519.PrivateKey, d Document) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode a document: %w", err)
	}
	out, err := json.Marshal(envelope{
		KeyID:    KeyID(key.Public().(ed25519.PublicKey)), //nolint:forcetypeassert // what a key of Ed25519 returns
		Document: text, Signature: ed25519.Sign(key, append([]byte(signingContext), text...)),
	})
	if err != nil {
		return nil, fmt.Errorf("encode a document: %w", err)
	}
	if len(out) > MaxEnvelope {
		return nil, fmt.Errorf("the document has %d bytes, and an agent reads at most %d", len(out), MaxEnvelope)
	}
	return out, nil
}

// Open returns the document of an envelope and the ID of the key that has signed it, if that is one of some keys. Nothing of it is read before.
func Open(keys []ed25519.PublicKey, text []byte) (d Document, by string, err error) {
	if len(text) > MaxEnvelope {
		return Document{}, "", fmt.Errorf("it has %d bytes, more than %d", len(text), MaxEnvelope)
	}
	var e envelope
	if err := decode(text, &e); err != nil {
		return Document{}, "", fmt.Errorf("it cannot be read: %w", err)
	}
	i := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return KeyID(k) == e.KeyID })
	if i < 0 {
		return Document{}, "", errors.New("it is signed by a key that this host does not know: if the operator's delivery key is another one now, " +
			"write deliveryKeys of the agent's configuration anew, as `clusterpki agent config` prints it")
	}
	if !ed25519.Verify(keys[i], append([]byte(signingContext), e.Document...), e.Signature) {
		return Document{}, "", errors.New("its signature does not fit what it says")
	}
	if err := decode(e.Document, &d); err != nil {
		return Document{}, "", fmt.Errorf("what is signed cannot be read: %w", err)
	}
	return d, e.KeyID, d.check()
}

// decode reads JSON that holds one value, and nothing that is not known.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errors.New("it is no JSON of this version") // the decoder quotes what it reads
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}
