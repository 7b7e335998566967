package ack

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	coordinationv1 "k8s.io/api/coordination/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Report is what an agent says. What is absent is not so.
type Report struct {
	// UID is that of the object which it is about, Host the host on which the agent runs, and Time when it was said, by the clock of
	// the management cluster's API server.
	UID  string    `json:"uid,omitempty"`
	Host string    `json:"host,omitempty"`
	Time time.Time `json:"time,omitzero"`
	// SignedBy is the serial number of the certificate whose key signs the report: that of Installed.
	SignedBy string `json:"signedBy,omitempty"`
	// Installed is what the files of the host hold.
	Installed *State `json:"installed,omitempty"`
	// Restarting: something on the host is still to be restarted for what is installed, or to be seen to work afterwards.
	Restarting bool `json:"restarting,omitempty"`
	// Verified is what was seen to work, by a new connection, after everything that uses it had reloaded it.
	Verified *State `json:"verified,omitempty"`
	// DeliveryKeys are the IDs of the delivery keys that the host takes something from.
	DeliveryKeys []string `json:"deliveryKeys,omitempty"`
	// DeliveryTime is the time of the latest signed document that the host has installed something from: it takes nothing earlier.
	DeliveryTime time.Time `json:"deliveryTime,omitzero"`
	// RequestSHA256 is the digest of the certificate signing request beside the report: who signs this asks for that.
	RequestSHA256 string `json:"requestSHA256,omitempty"`
	// Tokens are, where Installed has service account keys, the Secrets whose tokens never end; nil where nobody needs to know.
	Tokens *Tokens `json:"tokens,omitempty"`
	// Version is that of the agent.
	Version string `json:"version,omitempty"`
	// Credential is the agent's own, for this management cluster, while less than a third of its life is left: it was not renewed. Else it is nil.
	Credential *Credential `json:"credential,omitempty"`
	// Problem is why what is issued is not installed or not in use, for people. It holds no key and no clock.
	Problem string `json:"problem,omitempty"`
}

// maxVersion bounds a Version, in bytes.
const maxVersion = 64

// versionOf is a version as it may be shown, "" for what is none.
func versionOf(text string) string {
	none := func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(".+-", c)
	}
	if len(text) > maxVersion || strings.ContainsFunc(text, none) {
		return ""
	}
	return text
}

// Credential is one of an agent that ends soon.
type Credential struct {
	// GrantedSeconds is how long it was granted for, and Expires when it ends, by the clock of the management cluster's API server.
	GrantedSeconds int64     `json:"grantedSeconds"`
	Expires        time.Time `json:"expires"`
	// Problem is why it was not renewed, for people.
	Problem string `json:"problem,omitempty"`
}

// bounded is a credential as it may be shown.
func (c *Credential) bounded() *Credential {
	if c == nil {
		return nil
	}
	return &Credential{GrantedSeconds: max(0, c.GrantedSeconds), Expires: c.Expires, Problem: printable(c.Problem)}
}

const (
	// MaxProblem bounds a Problem, in bytes.
	MaxProblem = 1024
	// maxReport bounds what is read of a report, in bytes, and maxSignature of its signature in base64: one of RSA with 16384 bits has
	// 2.7 KiB.
	maxReport    = 32 << 10
	maxSignature = 4 << 10
)

// bounded is a report as it may be shown.
func (r Report) bounded() Report {
	r.Problem, r.Tokens, r.Credential, r.Version = printable(r.Problem), r.Tokens.bounded(), r.Credential.bounded(), versionOf(r.Version)
	return r
}

// Of reads the report of a Lease, whoever wrote it; damage and absence read as none.
func Of(l *coordinationv1.Lease) Report {
	var r Report
	if l == nil {
		return r
	}
	text := l.Annotations[v1alpha1.ReportAnnotation]
	if len(text) > maxReport || json.Unmarshal([]byte(text), &r) != nil {
		return Report{}
	}
	return r.bounded()
}

// Text is the report as the annotation of a Lease.
func (r Report) Text() (string, error) {
	r = r.bounded()
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode the report: %w", err)
	}
	return string(text), nil
}

// Same says whether two reports say the same, whenever they were made.
func (r Report) Same(other Report) bool {
	r.Time, other.Time = time.Time{}, time.Time{}
	a, err := r.Text()
	b, otherErr := other.Text()
	return err == nil && otherErr == nil && a == b
}

// signing is what a report is signed for: no other signature by the key of a certificate can be taken for one.
const signing = "clusterpki.io/report/v1"

// Sign is the signature of a report's text, as the annotation of a Lease.
func Sign(text string, key pki.PrivateKey) (string, error) {
	signature, err := pki.SignMessage(key, signing, []byte(text))
	if err != nil {
		return "", fmt.Errorf("sign the report: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

// Proof is what a report is worth.
type Proof int

// What a report may be worth. Only of Signed anything counts.
const (
	// Unsigned: it states nothing, and nobody has signed it. An agent that has installed nothing yet has no key to sign with.
	Unsigned Proof = iota
	// Signed: the holder of the key of a certificate that was issued for this object has signed it, for this object.
	Signed
	// Forged: it states something, or bears a signature, and no such holder has signed it.
	Forged
)

// ProofOf says what the report of a Lease is worth for the object of a UID. recorded is the public key of a certificate that was issued for
// that object, by its serial number; nil where none was.
func ProofOf(l *coordinationv1.Lease, uid string, recorded func(serial string) crypto.PublicKey) Proof {
	if l == nil {
		return Unsigned
	}
	r, text, signature := Of(l), l.Annotations[v1alpha1.ReportAnnotation], l.Annotations[v1alpha1.ReportSignatureAnnotation]
	if signature == "" && r.Installed == nil && r.Verified == nil {
		return Unsigned
	}
	if len(signature) > maxSignature || r.UID == "" || r.UID != uid || r.Time.IsZero() {
		return Forged
	}
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || !pki.VerifyMessage(recorded(r.SignedBy), signing, []byte(text), raw) {
		return Forged
	}
	return Signed
}
