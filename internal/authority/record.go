package authority

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// SecretType is the type of a CA's Secret in the authority namespace.
const SecretType corev1.SecretType = "clusterpki.io/authority"

// SecretName is the name of a ClusterCA's Secret in the authority namespace. Namespaces have no dots: no two CAs share one.
func SecretName(namespace, name string) string { return "ca." + namespace + "." + name }

// The bounds of what a CA's Secret holds, so that it stays below the 1 MiB of an object.
const (
	MaxGenerationBytes = 64 << 10
	MaxChain           = 8
	MaxCrossSigned     = 4
)

// Identity names the objects that a CA belongs to. Another UID is another object, whatever its name.
type Identity struct {
	Namespace    string    `json:"namespace"`
	Name         string    `json:"name"`
	NamespaceUID types.UID `json:"namespaceUID"`
	CRDUID       types.UID `json:"crdUID,omitempty"`
	UID          types.UID `json:"uid"` // of the object
	// HomeUID is that of the authority namespace. A Secret that was copied into another one, beside this or after it, decides
	// nothing there until somebody says so.
	HomeUID types.UID `json:"authorityNamespaceUID"`
}

// Copy is a Secret in the user's namespace that holds a copy of the active key, because spec.secretName or spec.outputs asks for it.
type Copy struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

// Record is the whole truth about one CA.
type Record struct {
	Identity
	Ledger plan.Ledger
	// CAs are the generations' certificates and keys, by number. Where Err has an entry, the key is missing or damaged.
	CAs map[int32]pki.CA
	Err map[int32]error
	// Copies are the copies of the active key that were made. One that the spec no longer names is emptied.
	Copies []Copy
	// Deleted is when the ClusterCA was seen to be deleted with deletionPolicy 'Delete'; zero: it was not.
	Deleted time.Time
	// Created is when the Secret was created, Version its resourceVersion; both are empty for one that is not stored yet.
	Created time.Time
	Version string
	// WithoutKeys says that the record comes from a cache, which holds no keys.
	WithoutKeys bool
	// uid and stored are the stored Secret's. What is stored of a generation is never written anew.
	uid    types.UID
	stored map[string][]byte
}

func (i Identity) String() string { return i.Namespace + "/" + i.Name }

func (r *Record) identity() Identity { return r.Identity }

func (r *Record) stands() (version string, uid types.UID) { return r.Version, r.uid }

// Tombstone says whether the CA's keys were destroyed. Its numbers go on.
func (r *Record) Tombstone() bool { return len(r.Ledger.Generations) == 0 }

// Copied says whether there are copies of the active key, for programs that sign for themselves.
func (r *Record) Copied() bool { return len(r.Copies) > 0 }

// Active is the active CA with its key. The error says why there is none.
func (r *Record) Active() (pki.CA, error) {
	g, ok := r.Ledger.Active()
	if !ok {
		return pki.CA{}, errors.New("no key of this CA is left")
	}
	if err := r.Err[g.Number]; err != nil {
		return pki.CA{}, err
	}
	return r.CAs[g.Number], nil
}

// document is what a CA's Secret holds beside certificates and keys.
type document struct {
	Identity
	Deleted time.Time       `json:"deleted,omitzero"`
	Copies  []Copy          `json:"copies,omitempty"`
	Ledger  json.RawMessage `json:"ledger"`
}

const documentKey = "ledger.json"

// withoutKeysAnnotation marks, in a cache, what WithoutKeys has gone through. No Secret of an API server can have an annotation of that name.
const withoutKeysAnnotation = "/without-keys"

// keysOf are the keys of a generation in the Secret's data.
func keysOf(number int32) (chain, key, root, cross string) {
	g := fmt.Sprintf("g%d", number)
	return g + ".crt", g + ".key", g + "-root.crt", g + "-crosssigned.crt"
}

// Decode reads a CA's Secret. Damage of a single key is told in Err, of anything else as an error.
func Decode(s *corev1.Secret) (*Record, error) {
	var d document
	if err := json.Unmarshal(s.Data[documentKey], &d); err != nil {
		return nil, fmt.Errorf("Secret %q: malformed %s: %w", s.Name, documentKey, err) //nolint:staticcheck // a kind's name
	}
	ledger, err := plan.ParseLedger(d.Ledger)
	if err != nil {
		return nil, fmt.Errorf("Secret %q: %w", s.Name, err) //nolint:staticcheck // a kind's name
	}
	if SecretName(d.Namespace, d.Name) != s.Name {
		return nil, fmt.Errorf("Secret %q is that of ClusterCA %s/%s: it was copied", s.Name, d.Namespace, d.Name) //nolint:staticcheck // a kind's name
	}
	r := &Record{
		Identity: d.Identity, Ledger: ledger, Deleted: d.Deleted, Copies: d.Copies,
		CAs: map[int32]pki.CA{}, Err: map[int32]error{},
		Created: s.CreationTimestamp.Time, Version: s.ResourceVersion, uid: s.UID, stored: s.Data,
	}
	_, r.WithoutKeys = s.Annotations[withoutKeysAnnotation]
	for _, g := range ledger.Generations {
		ca, err := decodeCA(s, g)
		r.CAs[g.Number] = ca
		if r.WithoutKeys && errors.Is(err, ErrKeyMissing) {
			continue
		}
		if err != nil {
			r.Err[g.Number] = fmt.Errorf("the key of generation %d in Secret %q: %w", g.Number, s.Name, err)
		}
	}
	return r, nil
}

// decodeCA reads one generation. With an error, its certificates are known as far as they could be read.
func decodeCA(s *corev1.Secret, g plan.Generation) (pki.CA, error) {
	chainKey, keyKey, rootKey, crossKey := keysOf(g.Number)
	ca, err := pki.ParseCACertificate(s.Data[chainKey])
	if err != nil {
		return pki.CA{}, err
	}
	if pki.FingerprintOf(ca.Cert) != g.SHA256 {
		return pki.CA{}, errors.New("its certificate is another one than the ledger's")
	}
	if text := s.Data[rootKey]; len(text) > 0 {
		roots, err := pki.ParseCertificates(text)
		if err != nil {
			return ca, fmt.Errorf("%s: %w", rootKey, err)
		}
		ca.Root = roots[0]
	}
	if text := s.Data[crossKey]; len(text) > 0 {
		if ca.CrossSigned, err = pki.ParseCertificates(text); err != nil {
			return ca, fmt.Errorf("%s: %w", crossKey, err)
		}
	}
	text, there := s.Data[keyKey]
	if !there {
		return ca, ErrKeyMissing
	}
	key, err := pki.ParsePrivateKey(text)
	if err != nil {
		return ca, err
	}
	if !pki.SamePublicKey(ca.Cert.PublicKey, key.Public()) {
		return ca, pki.ErrKeyMismatch
	}
	ca.Key = key
	return ca, nil
}

// ErrKeyMissing says that a generation's key is not there.
var ErrKeyMissing = errors.New("it is not there")

// encode is the data of a record's Secret. What is stored of a generation already is copied as it is.
func (r *Record) encode() (map[string][]byte, error) {
	ledger, err := json.Marshal(r.Ledger)
	if err != nil {
		return nil, fmt.Errorf("encode the ledger: %w", err)
	}
	text, err := json.Marshal(document{Identity: r.Identity, Deleted: r.Deleted, Copies: r.Copies, Ledger: ledger})
	if err != nil {
		return nil, fmt.Errorf("encode what is stored of a CA: %w", err)
	}
	data := map[string][]byte{documentKey: text}
	for _, g := range r.Ledger.Generations {
		chainKey, keyKey, rootKey, crossKey := keysOf(g.Number)
		if _, stored := r.stored[chainKey]; stored || r.Err[g.Number] != nil { // what is damaged is left as it is
			for _, k := range []string{chainKey, keyKey, rootKey, crossKey} {
				if value, there := r.stored[k]; there {
					data[k] = value
				}
			}
			continue
		}
		ca := r.CAs[g.Number]
		key, err := ca.Key.Reveal()
		if err != nil {
			return nil, err
		}
		one := map[string][]byte{chainKey: ca.CertPEM(), keyKey: key}
		if ca.Root != nil {
			one[rootKey] = pki.EncodeCertificates(ca.Root)
		}
		if len(ca.CrossSigned) > 0 {
			one[crossKey] = pki.EncodeCertificates(ca.CrossSigned...)
		}
		if err := withinBounds(ca, one); err != nil {
			return nil, err
		}
		maps.Copy(data, one)
	}
	return data, nil
}

// Storable says why a record is too large to be stored.
func (r *Record) Storable() error {
	_, err := r.encode()
	return err
}

// withinBounds refuses a generation that is larger than a store of eight of them can hold.
func withinBounds(ca pki.CA, data map[string][]byte) error {
	size := 0
	for _, v := range data {
		size += len(v)
	}
	switch {
	case len(ca.Chain) > MaxChain:
		return &TooLargeError{fmt.Sprintf("it has a chain of %d certificates, more than %d", len(ca.Chain), MaxChain)}
	case len(ca.CrossSigned) > MaxCrossSigned:
		return &TooLargeError{fmt.Sprintf("it carries %d cross-signed certificates, more than %d", len(ca.CrossSigned), MaxCrossSigned)}
	case size > MaxGenerationBytes:
		return &TooLargeError{fmt.Sprintf("its certificates and key have %d bytes, more than %d", size, MaxGenerationBytes)}
	default:
		return nil
	}
}

// TooLargeError says that a CA is larger than what is stored of one.
type TooLargeError struct{ text string }

func (e *TooLargeError) Error() string { return "the CA is too large to be stored: " + e.text }

// Next is a copy to change.
func (r *Record) Next() *Record {
	n := *r
	n.CAs, n.Err, n.Copies = maps.Clone(r.CAs), maps.Clone(r.Err), slices.Clone(r.Copies)
	return &n
}
