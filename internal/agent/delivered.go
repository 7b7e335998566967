package agent

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
)

// Keys of Secrets that hold bundles.
const (
	bundleKey = consumers.BundleKey
	clientKey = consumers.ClientBundleKey
	serverKey = consumers.ServerBundleKey
)

// delivered is what an object's Secrets bring, as far as the operator has signed it. Nothing else of them is looked at.
type delivered struct {
	delivery.Statement
	at       signedAt
	tls      map[string][]byte // certificate, bundles and private key
	accounts map[string][]byte // service account keys; nil where there are none
}

// deliveryKeys are those that may have signed what is installed, in the order in which they sign.
func (c *Config) deliveryKeys() ([]ed25519.PublicKey, error) {
	if len(c.DeliveryKeys) == 0 {
		return nil, errors.New("the public half of the namespace's delivery key must be set, as `clusterpki agent config -n NAMESPACE --host HOST` prints it")
	}
	var out []ed25519.PublicKey
	for _, text := range c.DeliveryKeys {
		key, err := delivery.ParsePublic([]byte(text))
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

// maxPrivateKey bounds a private key that is parsed, in bytes: the largest that is issued, RSA of 4096 bits, has 3.2 KiB.
const maxPrivateKey = 16 << 10

// open reads what the Secrets of an object bring, if the operator has signed it for that object, and nothing later was taken.
func (c *Config) open(now time.Time, o object, f facts, r ring) (delivered, error) {
	s, err := f.secret(o.secrets[0])
	if err != nil {
		return delivered{}, err
	}
	d, err := signedIn(s, o, r.keys)
	if err != nil {
		return delivered{}, err
	}
	if err := r.takes(now, d.at, f.latest[o.lease], s.Name); err != nil {
		return delivered{}, err
	}
	key := s.Data[corev1.TLSPrivateKeyKey]
	if o.externalKey() {
		key = f.keys[o.lease]
	}
	if len(key) > maxPrivateKey {
		return delivered{}, invalid(s.Name, "its %s has more than %d bytes", corev1.TLSPrivateKeyKey, maxPrivateKey)
	}
	if key != nil {
		d.tls[corev1.TLSPrivateKeyKey] = alone(key)
	}
	if o.accountsSecret() != "" {
		d.accounts, err = d.serviceAccounts(o, f)
	}
	return d, err
}

// invalid says that something is not what the operator has signed.
func invalid(secret, format string, args ...any) error {
	return fmt.Errorf("%s: Secret %q: %s", v1alpha1.ReasonSignatureInvalid, secret, fmt.Sprintf(format, args...))
}

// signedIn reads a Secret as far as the operator has signed it for an object.
func signedIn(s *corev1.Secret, o object, keys []ed25519.PublicKey) (delivered, error) {
	text := s.Data[consumers.DeliveryKey]
	if len(text) == 0 {
		return delivered{}, invalid(s.Name, "the operator has not signed what it holds: is delivery.mode of %s 'Agent', and what does its status say?", o.name)
	}
	document, by, err := delivery.Open(keys, text)
	if err != nil {
		return delivered{}, invalid(s.Name, "what should be signed by the operator is not: %v", err)
	}
	if got := document.Subject(); got != o.subject {
		return delivered{}, invalid(s.Name, "it is signed for %s, and not for %s: another object's was copied there", got, o.subject)
	}
	d := delivered{Statement: document.Statement, tls: map[string][]byte{}}
	d.at.Time, d.at.UID, d.at.Key = document.Time, document.UID, by
	if d.at.Statement, err = d.Digest(""); err != nil {
		return delivered{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(d.Contents)) {
		if !d.Holds(key, s.Data[key]) {
			return delivered{}, invalid(s.Name, "its %s is not the one that the operator has signed: somebody else has changed it", key)
		}
		d.tls[key] = s.Data[key]
	}
	return d, nil
}

// alone is a private key without what stands beside it, which nobody has signed: other blocks, text, another encoding, none of which every component
// passes over. What holds no key stays as it is, and is refused for that.
func alone(text []byte) []byte {
	key, err := pki.ParsePrivateKey(text)
	if err != nil {
		return text
	}
	written, err := key.Reveal()
	if err != nil {
		return text
	}
	return written
}

// newest gives every object the newest bundle that any of them has of the same CAs: the operator writes one Secret after
// another, and files of one host that several share must not wait for the last. What the CAs are, and how new a bundle is, is signed.
func newest(all map[string]delivered) {
	type bundle struct {
		revisions map[string]int64
		text      []byte
	}
	best := map[string]bundle{} // by the names of the CAs
	of := func(d delivered, key string) (string, bundle) {
		revisions := d.Trust[key]
		if len(revisions) == 0 || len(d.tls[key]) == 0 {
			return "", bundle{}
		}
		if _, err := pki.ParseCertificates(d.tls[key]); err != nil { // damage must not spread
			return "", bundle{}
		}
		return strings.Join(slices.Sorted(maps.Keys(revisions)), "/"), bundle{revisions, d.tls[key]}
	}
	keys := []string{bundleKey, clientKey, serverKey}
	for _, d := range all {
		for _, key := range keys {
			cas, b := of(d, key)
			if was, ok := best[cas]; cas != "" && (!ok || supersedes(b.revisions, was.revisions)) {
				best[cas] = b
			}
		}
	}
	for _, d := range all {
		for _, key := range keys {
			if cas, b := of(d, key); cas != "" && supersedes(best[cas].revisions, b.revisions) {
				d.tls[key] = best[cas].text
			}
		}
	}
}

// supersedes says whether one bundle is of later revisions than another of the same CAs.
func supersedes(a, b map[string]int64) bool {
	later := false
	for ca, revision := range a {
		if revision < b[ca] {
			return false
		}
		later = later || revision > b[ca]
	}
	return later
}
