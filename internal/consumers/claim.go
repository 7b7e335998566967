package consumers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
)

// Sealer makes and checks seals, which only the operator can make.
type Sealer interface {
	Of(texts ...string) string
	Fits(seal string, texts ...string) bool
}

// Claim is what the operator notes, under its seal, on an object that it makes in a user's namespace: for whom it was made,
// and what it was rendered from. It is a lower bound and never says what the object holds now: that is read from its bytes.
type Claim struct {
	// UID is that of the object that it was made for.
	UID types.UID `json:"uid"`
	// Trust says, for each key that holds a bundle, which revisions of the ledgers of ClusterCAs it was rendered from.
	Trust map[string]map[string]int64 `json:"trust,omitempty"`
	// Keys are, for each of the bundles of an API server's clients, digests of the keys of the CAs that the operator published last in it.
	Keys map[string][]string `json:"keys,omitempty"`
	// Issuer is the ClusterCA that signed the certificate, and Generation the key that did.
	Issuer     string `json:"issuer,omitempty"`
	Generation int32  `json:"generation,omitempty"`
	// Changed is when the bundles, or the key that signed, last changed. A renewal by the same key is no news.
	Changed time.Time `json:"changed,omitzero"`
	// SpecHash is that of the pki.CertificateSpec that the certificate was issued for.
	SpecHash string `json:"specHash,omitempty"`
	// RenewalTriggers are digests of the last texts of spec.renewal.trigger for which a certificate was issued (plan.Answered).
	RenewalTriggers []string `json:"renewalTriggers,omitempty"`
	// Revision counts the certificates that were issued into a Secret.
	Revision int32 `json:"revision,omitempty"`
	// Contents is ContentsDigest of what the Secret was given: an older claim beside other contents says nothing of since when.
	Contents string `json:"contents,omitempty"`
	// Keyring is the revision of the ledger of service account keys that the contents were written from.
	Keyring int64 `json:"keyring,omitempty"`
	// Template names the labels and annotations that the object's template put there.
	Template Template `json:"template,omitzero"`
	// Left are ClusterCAs that the object depended on before, until what it holds now has arrived. Where these are more than maxLeft, it is anyCA alone.
	Left []string `json:"left,omitempty"`
	// Output is the program in whose form the Secret is (spec.outputs), "" where it is the operator's own. What reads it is no consumer that is known.
	Output string `json:"output,omitempty"`
	// CAKey: it holds a copy of a CA's key, or is about to. It goes to no other object before the key is taken out.
	CAKey bool `json:"caKey,omitempty"`
	// Delivery is what was signed last for the agent of the host; nil where nothing was.
	Delivery *Delivered `json:"delivery,omitempty"`
}

// Delivered is a document that was signed: nothing is signed anew while it says what is to be said, and stands where it was put.
type Delivered struct {
	Statement string    `json:"statement"` // digest of what it says (delivery.Statement.Digest)
	Envelope  string    `json:"envelope"`  // digest of its bytes
	Time      time.Time `json:"time"`
}

// Template names what a SecretTemplate put onto a Secret: only that is taken off again.
type Template struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// IsZero says whether it names nothing.
func (t Template) IsZero() bool { return len(t.Labels) == 0 && len(t.Annotations) == 0 }

// Text is the annotation for an object of a kind ('Secret', 'ConfigMap' or 'Lease'), namespace and name.
func (c Claim) Text(s Sealer, kind, namespace, name string) string {
	text, err := json.Marshal(c)
	if err != nil {
		return "" // strings, numbers and times cannot fail; nothing would fit it
	}
	return s.Of(kind, namespace, name, string(text)) + " " + string(text)
}

const (
	// maxClaim bounds what is read of an annotation, in bytes: more than the largest claim has, with names of 253 characters everywhere.
	maxClaim = 32 << 10
	// maxLeft bounds the names in Left.
	maxLeft = 32
	// anyCA stands in Left for every ClusterCA: no object has such a name.
	anyCA = "*"
)

// ParseClaim reads the annotation of an object. ok is false where the operator did not write it, for that object.
func ParseClaim(s Sealer, annotations map[string]string, kind, namespace, name string) (c Claim, ok bool) {
	text, ok := sealedText(s, annotations, kind, namespace, name)
	if !ok || json.Unmarshal([]byte(text), &c) != nil {
		return Claim{}, false
	}
	return c, true
}

// Sealed says whether the operator wrote the annotation of an object, for that object.
func Sealed(s Sealer, annotations map[string]string, kind, namespace, name string) bool {
	_, ok := sealedText(s, annotations, kind, namespace, name)
	return ok
}

func sealedText(s Sealer, annotations map[string]string, kind, namespace, name string) (text string, ok bool) {
	seal, text, found := strings.Cut(annotations[v1alpha1.ClaimAnnotation], " ")
	return text, found && len(text) <= maxClaim && s.Fits(seal, kind, namespace, name, text)
}

// Unsealed reads an annotation without proof of who wrote it, for those who cannot check that: people, and agents.
func Unsealed(annotations map[string]string) Claim {
	var c Claim
	_, text, found := strings.Cut(annotations[v1alpha1.ClaimAnnotation], " ")
	if !found || len(text) > maxClaim || json.Unmarshal([]byte(text), &c) != nil {
		return Claim{}
	}
	return c
}

// Revisions are the revisions of ledgers that the bundles were rendered from, by ClusterCA: the lowest, where several hold one.
func (c Claim) Revisions() map[string]int64 {
	out := map[string]int64{}
	for _, revisions := range c.Trust {
		for ca, revision := range revisions {
			if lowest, known := out[ca]; !known || revision < lowest {
				out[ca] = revision
			}
		}
	}
	return out
}

// ContentsDigest is the SHA-256, in hexadecimal, of the certificate and the bundles of a Secret.
func ContentsDigest(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range PublicKeys {
		fmt.Fprintf(h, "%s:%d:", key, len(data[key])) // never fails
		h.Write(data[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// CAs are the ClusterCAs that the contents were rendered from.
func (c Claim) CAs() []string {
	out := slices.Collect(maps.Keys(c.Revisions()))
	if c.Issuer != "" {
		out = append(out, c.Issuer)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// After is the claim of an object that is about to hold something else, or the same again, in place of what was claimed
// before. changed says whether a bundle is another one; settled, whether what it held before is known to be in use no more.
func (c Claim) After(was Claim, now time.Time, changed, settled bool) Claim {
	c.Changed = was.Changed
	now = now.UTC().Truncate(time.Second).Add(time.Second) // rounded up: no delay is shorter than it should be
	if changed || was.Issuer != c.Issuer || was.Generation != c.Generation || c.Changed.IsZero() || c.Changed.After(now) {
		c.Changed = now
	}
	left := was.CAs()
	if !settled {
		left = append(left, was.Left...)
	}
	present := c.CAs()
	left = slices.DeleteFunc(left, func(name string) bool { return slices.Contains(present, name) })
	slices.Sort(left)
	if left = slices.Compact(left); len(left) > maxLeft || slices.Contains(left, anyCA) {
		left = []string{anyCA} // more than are noted: the rotation of every other CA waits for the object
	}
	c.Left = left
	return c
}

// MayHaveLeft says whether the object may have depended on a ClusterCA before.
func (c Claim) MayHaveLeft(ca string) bool {
	return slices.Contains(c.Left, ca) || slices.Contains(c.Left, anyCA)
}
