package owned

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// What a cache keeps of a Secret: its certificate and bundles, which gates look at; of everything else that the operator
// writes there a digest, by which a change is seen. So it holds no private key. What was noted stands in the Secret's data
// under keys that begin with '/', which no Secret of an API server can have.

// maxCached bounds, in bytes, what the cache keeps of one object's data: whoever may make objects in a namespace must not be
// able to fill the operator's memory. What is larger is read live.
const maxCached = 128 << 10

// cutAnnotation marks, in the cache, an object whose data was too large to be kept. No object of an API server can have an annotation of that name: nobody
// can set the mark but the cache, and an informer that transforms once more what it has listed finds it again.
const cutAnnotation = "/cut"

// notedNote marks a Secret that was noted.
const notedNote = "/"

// problemNote is why a private key and its certificate do not belong together.
const problemNote = "/problem"

var (
	keptKeys   = consumers.PublicKeys
	digestKeys = []string{
		corev1.TLSPrivateKeyKey, consumers.KubeconfigKey, consumers.FilesKubeconfigKey, consumers.DeliveryKey, consumers.AccountPrivateKey,
		consumers.AccountPublicKey,
	}
)

// Digest tells one value of a Secret from another. nil: there is none.
type Digest []byte

// DigestOf is the digest of a value by itself.
func DigestOf(value []byte) Digest {
	sum := sha256.Sum256(value)
	return sum[:]
}

// EmbeddedDigest is that of a text in which a private key stands in base64: the same whichever key that is.
func EmbeddedDigest(text, key []byte) Digest {
	parts := [][]byte{text}
	if len(key) > 0 {
		parts = bytes.Split(text, []byte(base64.StdEncoding.EncodeToString(key)))
	}
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p)) // never fails
		h.Write(p)
	}
	return h.Sum(nil)
}

// NotedDigest is what was noted of a key's value.
func NotedDigest(s *corev1.Secret, key string) Digest { return s.Data["/"+key] }

// Holds says whether a key of which a digest was noted has a value.
func Holds(s *corev1.Secret, key string) bool {
	d := NotedDigest(s, key)
	return d != nil && !bytes.Equal(d, DigestOf(nil))
}

// KeyProblem is what was noted of a private key and its certificate; nil where they belong together.
func KeyProblem(s *corev1.Secret) error {
	problem, found := s.Data[problemNote]
	switch {
	case !found:
		return nil
	case string(problem) == pki.ErrKeyMismatch.Error():
		return pki.ErrKeyMismatch
	default:
		return errors.New(string(problem))
	}
}

// Plain is a Secret without what was noted of it.
func Plain(s *corev1.Secret) *corev1.Secret {
	out := &corev1.Secret{Type: s.Type, Immutable: s.Immutable, Data: map[string][]byte{}}
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	for _, key := range keptKeys {
		if value, there := s.Data[key]; there {
			out.Data[key] = value
		}
	}
	return out
}

// Noted is a Secret as a cache holds it; one that was noted already stays as it is, for an informer may transform what it has
// listed once more.
func Noted(s *corev1.Secret) *corev1.Secret {
	if _, done := s.Data[notedNote]; done {
		return s
	}
	out := Plain(s)
	out.ManagedFields = nil
	out.Data[notedNote] = []byte{}
	for _, key := range digestKeys {
		value, there := s.Data[key]
		switch {
		case !there:
		case key == consumers.KubeconfigKey:
			out.Data["/"+key] = EmbeddedDigest(value, s.Data[corev1.TLSPrivateKeyKey])
		default:
			out.Data["/"+key] = DigestOf(value)
		}
	}
	if problem := keyProblem(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]); problem != nil {
		out.Data[problemNote] = []byte(problem.Error())
	}
	return out
}

// maxKey bounds a private key that is looked at, in bytes: the largest that is issued, RSA of 4096 bits, has 3.2 KiB.
const maxKey = 4 << 10

// keyProblem is why a private key is not that of a certificate. What is wrong with a certificate is no problem of the key.
func keyProblem(cert, key []byte) error {
	if len(key) > maxKey {
		return fmt.Errorf("the private key has more than %d KiB", maxKey>>10)
	}
	if _, err := pki.ParseLeafCertificate(cert); err != nil {
		return nil //nolint:nilerr // see above
	}
	_, err := pki.ParseLeaf(cert, key)
	return err
}

// Cache makes what a cache is to hold. Values that many objects have in common, as thousands of Secrets a bundle, are kept once.
type Cache struct {
	// Seal is the operator's, as it is known, or as it was read again; ok is false where it is not known now. nil: it never is.
	Seal func(again bool) (seal consumers.Sealer, ok bool)

	mu     sync.Mutex
	shared map[[sha256.Size]byte][]byte
	size   int
}

// maxShared bounds, in bytes, what is remembered for sharing; it then begins anew.
const maxShared = 4 << 20

// maxMetadata bounds, in bytes, what the cache keeps of one object's metadata. Of a larger one it keeps what the operator wrote.
const maxMetadata = 64 << 10

// boundMetadata leaves out what others have written, where that is too large.
func boundMetadata(m metav1.Object) {
	size := 0
	for _, texts := range []map[string]string{m.GetAnnotations(), m.GetLabels()} {
		for k, v := range texts {
			size += len(k) + len(v)
		}
	}
	for _, o := range m.GetOwnerReferences() {
		size += len(o.APIVersion) + len(o.Kind) + len(o.Name) + len(o.UID)
	}
	for _, f := range m.GetFinalizers() {
		size += len(f)
	}
	if size <= maxMetadata {
		return
	}
	annotations := bounded(m.GetAnnotations())
	annotations[cutAnnotation] = "true"
	m.SetAnnotations(annotations)
	m.SetLabels(bounded(m.GetLabels()))
	if len(m.GetOwnerReferences()) > 0 { // that there is one decides something, and not which
		m.SetOwnerReferences([]metav1.OwnerReference{{Kind: cutAnnotation}})
	}
	m.SetFinalizers(nil)
}

// read are the names of the annotations and labels that the operator reads, in the order in which they are kept.
var read = []string{
	v1alpha1.OwnerAnnotation, v1alpha1.AgentAnnotation, v1alpha1.ClaimAnnotation, v1alpha1.ManagedLabel, v1alpha1.OwnerKindLabel, v1alpha1.CSRAnnotation,
	v1alpha1.ReportAnnotation, v1alpha1.ReportSignatureAnnotation,
}

// maxMark bounds, in bytes, what is kept of a mark.
const maxMark = 63

// marks are those of which it counts that they are there, whatever they say.
var marks = []string{v1alpha1.RestoredAnnotation, v1alpha1.VeleroRestoreLabel}

// bounded are the texts that the operator reads, as far as they are not too large themselves: what others add displaces none of them.
func bounded(texts map[string]string) map[string]string {
	out, left := map[string]string{}, maxMetadata/2
	for _, key := range marks {
		if value, there := texts[key]; there {
			out[key] = value[:min(len(value), maxMark)]
		}
	}
	for _, key := range read {
		value, there := texts[key]
		if size := len(key) + len(value); there && size <= left {
			out[key], left = value, left-size
		}
	}
	return out
}

// Transform is for cache.ByObject: it keeps, of what a cache is to hold, only what is read back.
func (c *Cache) Transform(o any) (any, error) {
	if foreign := c.foreign(o); foreign != nil {
		return foreign, nil
	}
	switch o := o.(type) {
	case *corev1.Secret:
		out := Noted(o)
		c.bound(out, sizeOf(o))
		boundMetadata(out)
		return out, nil
	case *corev1.ConfigMap:
		o.ManagedFields, o.BinaryData = nil, nil
		boundMetadata(o)
		boundData(o)
	case *coordinationv1.Lease:
		o.ManagedFields = nil
		boundMetadata(o)
		boundSpec(&o.Spec)
	case *rbacv1.Role:
		o.ManagedFields = nil
		boundMetadata(o)
		if o.Size() > maxCached { // somebody else has written it
			o.Rules = nil
		}
	case *rbacv1.RoleBinding:
		o.ManagedFields = nil
		boundMetadata(o)
		if o.Size() > maxCached {
			o.Subjects = nil
		}
	case metav1.Object: // of ours: what others keep there for themselves is of no use here
		o.SetManagedFields(nil)
		delete(o.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
		boundMetadata(o)
	}
	return o, nil
}

// boundData keeps of a ConfigMap what the operator writes there.
func boundData(o *corev1.ConfigMap) {
	var kept map[string]string
	for _, key := range []string{consumers.BundleKey, consumers.JWKSKey} {
		value, there := o.Data[key]
		switch {
		case len(value) > maxCached:
			metav1.SetMetaDataAnnotation(&o.ObjectMeta, cutAnnotation, "true")
			o.Data = nil
			return
		case there && kept == nil:
			kept = map[string]string{key: value}
		case there:
			kept[key] = value
		}
	}
	o.Data = kept
}

// maxHolder bounds, in bytes, the name of a Lease's holder: a longer one is no host's.
const maxHolder = 512

// boundSpec leaves out of a Lease what no agent writes.
func boundSpec(s *coordinationv1.LeaseSpec) {
	s.Strategy, s.PreferredHolder = nil, nil
	if s.HolderIdentity != nil && len(*s.HolderIdentity) > maxHolder {
		s.HolderIdentity = new(strings.Clone((*s.HolderIdentity)[:maxHolder]))
	}
}

func sizeOf(s *corev1.Secret) int {
	size := 0
	for _, value := range s.Data {
		size += len(value)
	}
	return size
}

// bound leaves the data of a Secret out where that of the stored one is too large, and shares it where it is not.
func (c *Cache) bound(s *corev1.Secret, stored int) {
	if stored > maxCached {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, cutAnnotation, "true")
		s.Data = map[string][]byte{notedNote: {}}
		return
	}
	for _, key := range keptKeys {
		if value, there := s.Data[key]; there {
			s.Data[key] = c.share(value)
		}
	}
}

// share returns the one copy of a value.
func (c *Cache) share(value []byte) []byte {
	sum := sha256.Sum256(value)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, there := c.shared[sum]; there {
		return known
	}
	if c.shared == nil || c.size+len(value) > maxShared {
		c.shared, c.size = map[[sha256.Size]byte][]byte{}, 0
	}
	value = bytes.Clone(value)
	c.shared[sum] = value
	c.size += len(value)
	return value
}

// IsCut says whether the cache has left out what an object holds.
func IsCut(o metav1.Object) bool { return o.GetAnnotations()[cutAnnotation] != "" }
