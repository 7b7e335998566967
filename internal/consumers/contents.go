package consumers

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/pki"
)

// Keys of the Secrets that the operator makes, beside those of kubernetes.io/tls.
const (
	BundleKey       = "ca.crt"
	ClientBundleKey = "client-ca.crt"
	HeaderBundleKey = "requestheader-ca.crt"
	// ServerBundleKey verifies the API server that a credential is for. It stands beside the certificate where an agent renders the
	// kubeconfig.
	ServerBundleKey = "apiserver-ca.crt"
	// KubeconfigKey is the form of a kubeconfig with everything embedded, FilesKubeconfigKey the one that names files.
	KubeconfigKey      = "value"
	FilesKubeconfigKey = "kubeconfig.files"
	// DeliveryKey holds what the operator has signed for the agent of the host (delivery.Open).
	DeliveryKey = "delivery"
)

// Product is a Secret that the operator made, as its bytes say.
type Product struct {
	Name    string
	UID     types.UID
	Created time.Time
	// Claim is the operator's own note on it; Claimed is false where that is missing or was changed.
	Claim   Claim
	Claimed bool
	// contents is ContentsDigest of it.
	contents string
	// Leaf is its certificate with its chain; nothing where there is none.
	Leaf pki.Leaf
	// Bundles are its trust anchors, by key.
	Bundles map[string][]*x509.Certificate
}

// Reader reads Secrets, and remembers what it has parsed: thousands of them hold the same bundles, and gates ask again
// and again. The zero value is ready to use.
type Reader struct {
	mu     sync.Mutex
	parsed map[[sha256.Size]byte][]*x509.Certificate
	size   int // in bytes, of what was parsed
}

// maxParsed bounds what a Reader remembers, in bytes of what was parsed; it then begins anew.
const maxParsed = 64 << 20

// maxBundle bounds a text that is parsed at all, in bytes.
const maxBundle = 1 << 20

// PublicKeys are the keys of a product that hold certificates.
var PublicKeys = []string{corev1.TLSCertKey, BundleKey, ClientBundleKey, HeaderBundleKey, ServerBundleKey}

// kindSecret is the kind of a Secret.
const kindSecret = "Secret"

// Read reads a Secret. What cannot be read is not there.
func (r *Reader) Read(s *corev1.Secret, seal Sealer) Product {
	claim, claimed := ParseClaim(seal, s.Annotations, kindSecret, s.Namespace, s.Name)
	if !claimed { // the operator did not make it: what it holds is nobody's
		return Product{Name: s.Name, UID: s.UID, Created: s.CreationTimestamp.Time}
	}
	p := r.read(s)
	p.Claim, p.Claimed = claim, true
	return p
}

// ReadUnsealed reads a Secret without proof of who wrote its claim, as Unsealed does.
func (r *Reader) ReadUnsealed(s *corev1.Secret) Product {
	p := r.read(s)
	p.Claim = Unsealed(s.Annotations)
	p.Claimed = p.Claim.UID != ""
	return p
}

func (r *Reader) read(s *corev1.Secret) Product {
	p := Product{Name: s.Name, UID: s.UID, Created: s.CreationTimestamp.Time, Bundles: map[string][]*x509.Certificate{}}
	p.contents = ContentsDigest(s.Data)
	if certs := r.certificates(s.Data[corev1.TLSCertKey]); len(certs) > 0 {
		p.Leaf = pki.Leaf{Cert: certs[0], Chain: certs[1:]}
	}
	for _, key := range PublicKeys[1:] {
		if certs := r.certificates(s.Data[key]); len(certs) > 0 {
			p.Bundles[key] = certs
		}
	}
	return p
}

func (r *Reader) certificates(text []byte) []*x509.Certificate {
	if len(text) == 0 || len(text) > maxBundle {
		return nil
	}
	sum := sha256.Sum256(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if certs, known := r.parsed[sum]; known {
		return certs
	}
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		certs = nil
	}
	if r.parsed == nil || r.size+len(text) > maxParsed {
		r.parsed, r.size = map[[sha256.Size]byte][]*x509.Certificate{}, 0
	}
	r.parsed[sum] = certs
	r.size += len(text)
	return certs
}

// changed is since when a product holds what it holds: what the operator noted, or when the Secret was made, if that was later.
func (p Product) changed(now time.Time) time.Time {
	if !p.Claimed || p.Claim.Contents != p.contents { // of other contents: somebody put an older claim back, or changed them
		return now
	}
	if created := p.Created.Add(time.Second); created.After(p.Claim.Changed) { // cut to the second by the API server
		return created
	}
	return p.Claim.Changed
}

// digest is what an agent calls the contents of a key: see ack.State.
func (p Product) digest(key string) string {
	switch {
	case key != corev1.TLSCertKey:
		return pki.BundleDigest(p.Bundles[key])
	case p.Leaf.Cert != nil:
		return pki.FingerprintOf(p.Leaf.Cert)
	default:
		return ""
	}
}

// holdsAny says whether a bundle of a product holds one of some anchors.
func (p Product) holdsAny(anchors []*x509.Certificate) bool {
	for _, bundle := range p.Bundles {
		if slices.ContainsFunc(anchors, func(a *x509.Certificate) bool { return slices.ContainsFunc(bundle, a.Equal) }) {
			return true
		}
	}
	return false
}
