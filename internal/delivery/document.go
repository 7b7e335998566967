package delivery

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Statement is what the operator says of an object's Secrets. All that an agent acts on is in it, but for private keys, which must
// fit a certificate or a public key that is.
type Statement struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Host is the name of the host that the object is for.
	Host string `json:"host"`
	// Contents are the digests (DigestOf) of the values of the object's Secret, by key. What is not among them is not the operator's.
	Contents map[string]string `json:"contents"`
	// Trust says, for each key that holds a bundle, which revisions of the ledgers of ClusterCAs it was rendered from.
	Trust map[string]map[string]int64 `json:"trust,omitempty"`
	// Kubeconfig is what a kubeconfig is rendered from, beside certificate, key and bundle; nil where there is none.
	Kubeconfig *Kubeconfig `json:"kubeconfig,omitempty"`
	// ServiceAccounts says which service account keys the host is to have now; nil where there are none.
	ServiceAccounts *ServiceAccounts `json:"serviceAccounts,omitempty"`
	// NextKey is the public half of the delivery key that is to sign after the one which signs this; nil while there is none.
	NextKey ed25519.PublicKey `json:"nextKey,omitempty"`
}

// ServiceAccounts are the service account keys of an API server. They stand in a Secret of their own, which may hold the next ones already: a host
// takes them when they are named here.
type ServiceAccounts struct {
	// SHA256 is the digest (DigestOf) of 'sa.pub'. The private key must fit the first key there.
	SHA256 string `json:"sha256"`
	// SwitchedAt is when that key began to sign; zero where no other one signed before it.
	SwitchedAt time.Time `json:"switchedAt,omitzero"`
}

// Kubeconfig are the words of a kubeconfig.
type Kubeconfig struct {
	Server        string `json:"server"`                  // https URL
	TLSServerName string `json:"tlsServerName,omitempty"` // by which the server's certificate is verified; "": the host of Server
	ClusterName   string `json:"clusterName"`
	ContextName   string `json:"contextName"`
	UserName      string `json:"userName"`
	Namespace     string `json:"namespace,omitempty"`
}

// Document is a statement, and when it was made.
type Document struct {
	Statement
	// Time is by the clock of the API server. Of two documents of an object the later one counts, and it grows with each.
	Time time.Time `json:"time"`
}

// Subject is the object that a document is for.
type Subject struct{ Kind, Namespace, Name, Host string }

func (s Subject) String() string {
	return fmt.Sprintf("%s %s/%s of host %q", s.Kind, s.Namespace, s.Name, s.Host)
}

// Subject is the object that the statement is of.
func (s Statement) Subject() Subject { return Subject{s.Kind, s.Namespace, s.Name, s.Host} }

// DigestOf is the digest of a value of a Secret: its SHA-256, in hexadecimal.
func DigestOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Holds says whether a value of the object's Secret is the one that was signed.
func (s Statement) Holds(key string, value []byte) bool { return s.Contents[key] == DigestOf(value) }

// Digest tells one statement, under one key, from another.
func (s Statement) Digest(keyID string) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode a statement: %w", err)
	}
	return DigestOf(append([]byte(keyID+" "), text...)), nil
}

// MaxAhead is how far the time of a document may lie ahead of the clock of the host that takes it. Nothing earlier is taken afterwards: one
// of a far time would be the last.
const MaxAhead = time.Hour

// Ahead says whether a document of a time is taken by no host whose clock is right.
func Ahead(now, at time.Time) bool { return at.After(now.Add(MaxAhead)) }

// NextTime is the time of a document that follows another one: now, and later than that one, unless no host has taken it.
func NextTime(now, last time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if !now.After(last) && !Ahead(now, last) {
		now = last.UTC().Truncate(time.Millisecond).Add(time.Millisecond)
	}
	return now
}

// Bounds of a document.
const (
	// MaxEnvelope bounds a signed document, in bytes.
	MaxEnvelope = 32 << 10
	maxEntries  = 64
	maxText     = 2048
)

// check bounds what a document may say, whoever has signed it.
func (d Document) check() error {
	texts := []string{d.Kind, d.Namespace, d.Name, d.UID, d.Host}
	if a := d.ServiceAccounts; a != nil {
		texts = append(texts, a.SHA256)
	}
	if k := d.Kubeconfig; k != nil {
		texts = append(texts, k.Server, k.TLSServerName, k.ClusterName, k.ContextName, k.UserName, k.Namespace)
	}
	texts = append(texts, slices.Collect(maps.Keys(d.Contents))...)
	texts = append(texts, slices.Collect(maps.Values(d.Contents))...)
	entries := len(d.Contents) + len(d.Trust)
	for key, revisions := range d.Trust {
		texts, entries = append(texts, key), entries+len(revisions)
		texts = append(texts, slices.Collect(maps.Keys(revisions))...)
	}
	switch {
	case slices.ContainsFunc([]string{d.Kind, d.Namespace, d.Name, d.UID, d.Host}, func(s string) bool { return s == "" }) || d.Time.IsZero():
		return fmt.Errorf("it does not say of which object it is, and of when")
	case d.ServiceAccounts != nil && d.ServiceAccounts.SHA256 == "":
		return fmt.Errorf("it does not say which service account keys are to be used")
	case len(d.NextKey) != 0 && len(d.NextKey) != ed25519.PublicKeySize:
		return fmt.Errorf("its next key is none")
	case entries > maxEntries:
		return fmt.Errorf("it names more than %d things", maxEntries)
	case slices.ContainsFunc(texts, func(s string) bool {
		return len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
	}):
		return fmt.Errorf("it holds a text of more than %d bytes, or one that is not printable", maxText)
	}
	return nil
}
