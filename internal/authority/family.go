package authority

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FamilySecretType is the type of the Secret that says which objects a ClusterPKI has made.
const FamilySecretType corev1.SecretType = "clusterpki.io/cluster"

// FamilyPrefix begins the names of those Secrets.
const FamilyPrefix = "cpki."

// Keys of that Secret.
const (
	familyDocument = "cluster.json"
	familyChildren = "children.json.gz"
)

// FamilyName is the name of a ClusterPKI's Secret in the authority namespace. Namespaces have no dots: no two ClusterPKIs share one.
func FamilyName(namespace, name string) string { return FamilyPrefix + namespace + "." + name }

// The bounds of a family, so that it stays below the 1 MiB of an object, and reading it below a few megabytes of memory.
const (
	MaxChildren      = 16 << 10
	maxFamilyBytes   = 900 << 10
	maxChildrenBytes = 8 << 20
	minNonce         = 26
)

// ChildKey names a child: a ClusterPKI has one object of a kind and name.
type ChildKey struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// String is how messages call it.
func (k ChildKey) String() string { return k.Kind + "/" + k.Name }

func compareKeys(a, b ChildKey) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// Child is an object that a ClusterPKI has made, or is about to make. It has a nonce until it is known to be there, and a UID from
// then on: what stands under its name is its own by one of the two, and by nothing else.
type Child struct {
	// Host is the host that it is for; "" for one of the whole cluster.
	Host string `json:"host,omitempty"`
	// Guarded: it goes only where a person has named its host.
	Guarded bool      `json:"guarded,omitempty"`
	Nonce   string    `json:"nonce,omitempty"`
	UID     types.UID `json:"uid,omitempty"`
}

// Family is the whole truth about which objects a ClusterPKI has made.
type Family struct {
	Identity
	Children map[ChildKey]Child
	// Left are the hosts that have left the lists of the ClusterPKI, and since when.
	Left map[string]time.Time
	// Triggers are the texts that ask for rotations, as package cluster writes them.
	Triggers json.RawMessage
	// Names are by which names the API servers are reached, as package cluster writes them.
	Names json.RawMessage
	// Removed are the hosts that were removed, as far as that counts still, as package cluster writes them.
	Removed json.RawMessage
	// Version is the Secret's resourceVersion; empty for one that is not stored yet.
	Version string
	// uid is the stored Secret's.
	uid types.UID
}

// Next is a copy to change.
func (f *Family) Next() *Family {
	n := *f
	n.Children, n.Left = cloned(f.Children), cloned(f.Left)
	return &n
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// storedFamily is what is stored as it is, and storedChild one of those that are stored compressed.
type storedFamily struct {
	Identity
	Left     map[string]time.Time `json:"left,omitempty"`
	Triggers json.RawMessage      `json:"triggers,omitempty"`
	Names    json.RawMessage      `json:"names,omitempty"`
	Removed  json.RawMessage      `json:"removed,omitempty"`
}

type storedChild struct {
	ChildKey
	Child
}

// DecodeFamily reads a ClusterPKI's Secret.
func DecodeFamily(s *corev1.Secret) (*Family, error) {
	var d storedFamily
	if err := json.Unmarshal(s.Data[familyDocument], &d); err != nil {
		return nil, fmt.Errorf("Secret %q: malformed %s: %w", s.Name, familyDocument, err) //nolint:staticcheck // a kind's name
	}
	if FamilyName(d.Namespace, d.Name) != s.Name {
		return nil, fmt.Errorf("Secret %q is that of ClusterPKI %s/%s: it was copied", s.Name, d.Namespace, d.Name) //nolint:staticcheck // a kind's name
	}
	children, err := decodeChildren(s.Data[familyChildren])
	if err != nil {
		return nil, fmt.Errorf("Secret %q: %s: %w", s.Name, familyChildren, err) //nolint:staticcheck // a kind's name
	}
	f := &Family{
		Identity: d.Identity, Children: children, Left: cloned(d.Left), Triggers: d.Triggers, Names: d.Names, Removed: d.Removed,
		Version: s.ResourceVersion, uid: s.UID,
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("Secret %q: %w", s.Name, err) //nolint:staticcheck // a kind's name
	}
	return f, nil
}

// decodeChildren unpacks no more than a family may have.
func decodeChildren(packed []byte) (map[ChildKey]Child, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(zip, maxChildrenBytes+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(text) > maxChildrenBytes {
		return nil, errors.New("it is too large")
	}
	var list []storedChild
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("malformed: %w", err)
	}
	out := make(map[ChildKey]Child, len(list))
	for _, c := range list {
		if _, twice := out[c.ChildKey]; twice {
			return nil, fmt.Errorf("%s is there twice", c.ChildKey)
		}
		out[c.ChildKey] = c.Child
	}
	return out, nil
}

// encode is the data of a family's Secret: equal families have equal data.
func (f *Family) encode() (map[string][]byte, error) {
	document, err := json.Marshal(storedFamily{f.Identity, f.Left, f.Triggers, f.Names, f.Removed})
	if err != nil {
		return nil, fmt.Errorf("encode what is stored of a ClusterPKI: %w", err)
	}
	list := make([]storedChild, 0, len(f.Children))
	for _, key := range slices.SortedFunc(maps.Keys(f.Children), compareKeys) {
		list = append(list, storedChild{key, f.Children[key]})
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode the children of a ClusterPKI: %w", err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(text); err != nil {
		return nil, fmt.Errorf("pack the children of a ClusterPKI: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("pack the children of a ClusterPKI: %w", err)
	}
	if n := packed.Len() + len(document); n > maxFamilyBytes || len(text) > maxChildrenBytes {
		return nil, &FamilyTooLargeError{len(f.Children)}
	}
	return map[string][]byte{familyDocument: document, familyChildren: packed.Bytes()}, nil
}

// FamilyTooLargeError says that a ClusterPKI has more objects than can be recorded.
type FamilyTooLargeError struct{ Children int }

func (e *FamilyTooLargeError) Error() string {
	return fmt.Sprintf("%d objects are more than are kept of one ClusterPKI: divide its nodes among several objects", e.Children)
}

// FamilyOf says whose a Secret of the authority namespace is, as IdentityOf; ok is false where it is no ClusterPKI's.
func FamilyOf(o client.Object) (id Identity, ok bool) {
	s, secret := o.(*corev1.Secret)
	if !secret || s.Type != FamilySecretType || json.Unmarshal(s.Data[familyDocument], &id) != nil || FamilyName(id.Namespace, id.Name) != s.Name {
		return Identity{}, false
	}
	return id, true
}
