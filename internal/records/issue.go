package records

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/pki"
)

// SecretType is the type of a Secret that holds records.
const SecretType corev1.SecretType = "clusterpki.io/issued"

// SecretName is the name of one of the Secrets that hold the records of a namespace. Namespaces have no dots: no two share one.
func SecretName(namespace string, number int) string {
	return fmt.Sprintf("issued.%s.%d", namespace, number)
}

// Place says whose records are meant: those of a user's namespace, in an authority namespace. Another UID is another one, whatever its name.
type Place struct {
	Namespace    string    `json:"namespace"`
	NamespaceUID types.UID `json:"namespaceUID"`
	HomeUID      types.UID `json:"authorityNamespaceUID"`
}

// Object is whom a certificate was issued for.
type Object struct {
	// UID is empty of what was restored, until the object of that kind and name takes it up.
	UID  types.UID `json:"uid,omitempty"`
	Kind string    `json:"kind"`
	Name string    `json:"name"`
}

// Issue is what is kept of one certificate.
type Issue struct {
	Object
	SerialNumber string    `json:"serialNumber"`
	PublicKey    []byte    `json:"publicKey"` // SubjectPublicKeyInfo
	Time         time.Time `json:"time"`
	NotAfter     time.Time `json:"notAfter"`
	// ApprovedKeySHA256 is the digest of the key that a person had approved when the certificate was issued, "" where none was.
	ApprovedKeySHA256 string `json:"approvedKeySHA256,omitempty"`
	// Acknowledged says that the agent of the object's host has it: what is older counts no more.
	Acknowledged bool `json:"acknowledged,omitempty"`
	// CAs are the ClusterCAs that the object depended on when it was issued: as long as the issue counts, its host may use what they signed or published.
	CAs []string `json:"clusterCAs,omitempty"`
	// Ended says that it is kept for its approval alone, which is used up: nobody signs by it, and it is no object's.
	Ended bool `json:"ended,omitempty"`
}

// Issues are those of one object that count, the oldest first.
type Issues []Issue

// Last is the one that was recorded last; the zero one where none was.
func (s Issues) Last() Issue {
	if len(s) == 0 {
		return Issue{}
	}
	return s[len(s)-1]
}

// Numbered is the one of a serial number; the zero one where none is.
func (s Issues) Numbered(serial string) Issue {
	if i := placeOf(s, serial); i >= 0 {
		return s[i]
	}
	return Issue{}
}

// Of says whether an issue is that of a certificate.
func (i Issue) Of(cert *x509.Certificate) bool {
	return i.SerialNumber == pki.SerialOf(cert) && pki.SamePublicKey(i.Key(), cert.PublicKey)
}

// spent says whether another key has taken the place of the one that was approved: in this issue, or in a later one of those that the object's name had.
func (i Issue) spent(among []Issue) bool {
	replaced := func(by Issue) bool {
		return !by.Time.Before(i.Time) && !by.Ended && by.keySHA256() != i.ApprovedKeySHA256
	}
	return i.ApprovedKeySHA256 != "" && (i.Ended || replaced(i) || slices.ContainsFunc(among, replaced))
}

func (i Issue) keySHA256() string {
	sum := sha256.Sum256(i.PublicKey)
	return hex.EncodeToString(sum[:])
}

// named is the object of a kind and name, whatever its UID.
func (o Object) named() Object { return Object{Kind: o.Kind, Name: o.Name} }

// NewIssue is what is kept of a certificate.
func NewIssue(of Object, leaf pki.Leaf, now time.Time) (Issue, error) {
	key, err := pki.EncodePublicKey(leaf.Cert.PublicKey)
	if err != nil {
		return Issue{}, err
	}
	return Issue{
		Object: of, SerialNumber: pki.SerialOf(leaf.Cert), PublicKey: key, Time: now.UTC(), NotAfter: leaf.Cert.NotAfter,
	}, nil
}

// Key is the public key; nil where it cannot be read.
func (i Issue) Key() crypto.PublicKey {
	key, err := pki.DecodePublicKey(i.PublicKey)
	if err != nil {
		return nil
	}
	return key
}

// document is what a Secret holds.
type document struct {
	Place
	Number int     `json:"number"`
	Issues []Issue `json:"issues"`
}

const documentKey = "issued.json"

const (
	// maxBytes bounds what is read of a Secret.
	maxBytes = 900 << 10
	// fullAt is how large one becomes by what is added to it. Each write is of one of them.
	fullAt = 128 << 10
	// maxText bounds a name, a UID and a serial number.
	maxText = 512
)

// decode reads a Secret. One without any data holds nothing: that is how somebody empties one that is damaged.
func decode(s *corev1.Secret, namespace string, number int) (document, error) {
	text := s.Data[documentKey]
	damaged := func(err error) (document, error) {
		return document{}, fmt.Errorf("the authority namespace's Secret %q is damaged: %w; restore it from a backup, or take its data away: "+
			"then what it recorded is re-issued", s.Name, err)
	}
	var d document
	switch {
	case s.Type != SecretType:
		return damaged(fmt.Errorf("it is of type %q", s.Type))
	case len(text) > maxBytes:
		return damaged(fmt.Errorf("it has %d bytes", len(text)))
	case len(text) == 0:
		return document{Place: Place{Namespace: namespace}, Number: number}, nil
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return damaged(errors.New("malformed " + documentKey))
	}
	if d.Namespace != namespace || d.Number != number {
		return damaged(fmt.Errorf("it is Secret %q, and was copied", SecretName(d.Namespace, d.Number)))
	}
	d.Issues = slices.DeleteFunc(d.Issues, func(i Issue) bool {
		return len(i.PublicKey) > pki.MaxPublicKey || max(len(i.UID), len(i.Name), len(i.Kind), len(i.SerialNumber), len(i.ApprovedKeySHA256)) > maxText
	})
	return d, nil
}

func (d document) encode() ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode records: %w", err)
	}
	return text, nil
}

// size is about how many bytes an issue has, encoded.
func (i Issue) size() int {
	cas := 0
	for _, name := range i.CAs {
		cas += len(name) + len(`"",`)
	}
	return 200 + cas + len(i.UID) + len(i.Kind) + len(i.Name) + len(i.SerialNumber) + len(i.ApprovedKeySHA256) + len(i.PublicKey)*4/3
}

func sizeOf(issues []Issue) int {
	size := 0
	for _, i := range issues {
		size += i.size()
	}
	return size
}

// sortByTime puts the oldest first; of one second, in a stable order.
func sortByTime(issues []Issue) {
	slices.SortStableFunc(issues, func(a, b Issue) int { return a.Time.Compare(b.Time) })
}
