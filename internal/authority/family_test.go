package authority_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
)

const aNonce = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

var (
	kubeletOfNode1 = authority.ChildKey{Kind: "NodeCredential", Name: "prod-node1-kubelet"}
	clusterCA      = authority.ChildKey{Kind: "ClusterCA", Name: "prod-ca"}
)

func newFamily() *authority.Family {
	return &authority.Family{
		Identity: authority.Identity{Namespace: "prod", Name: "prod", NamespaceUID: "ns", UID: "cpki", HomeUID: "home"},
		Children: map[authority.ChildKey]authority.Child{kubeletOfNode1: {Host: "node1", Nonce: aNonce}, clusterCA: {Nonce: aNonce}},
		Left:     map[string]time.Time{"node9": start},
		Triggers: []byte(`{"last":2}`), Removed: []byte(`[{"host":"node8","at":"2026-11-28T12:00:00Z"}]`),
	}
}

func storedFamily(t testing.TB, f *authority.Family) (*authority.Store, client.Client, *authority.Family) {
	t.Helper()
	s, c := newStore()
	out, err := s.CreateFamily(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, out
}

func TestAFamilyIsStoredAsItIs(t *testing.T) {
	want := newFamily()
	s, c, written := storedFamily(t, want)
	fresh, err := authority.New(home, c, nil).LiveFamily(ctx, "prod", "prod")
	if err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]*authority.Family{"written": written, "read": fresh} {
		if diff := cmp.Diff(want.Children, got.Children) + cmp.Diff(want.Triggers, got.Triggers) + cmp.Diff(want.Removed, got.Removed); diff != "" {
			t.Errorf("%s: another family comes back\n%s", what, diff)
		}
		if got.Identity != want.Identity || !got.Left["node9"].Equal(start) || got.Version == "" {
			t.Errorf("%s: %+v comes back", what, got)
		}
	}
	if none, err := s.LiveFamily(ctx, "prod", "other"); none != nil || err != nil {
		t.Errorf("there is another one: %v, %v", none, err)
	}
	if s.MadeBy("prod", clusterCA) != "prod" || s.MadeBy("test", clusterCA) != "" || s.MadeBy("prod", authority.ChildKey{Kind: "ClusterCA", Name: "x"}) != "" {
		t.Error("whose child an object is, is not known")
	}
}

// Two writers: the later one has not seen what the first one wrote.
func TestAFamilyIsWrittenUnderWhatWasRead(t *testing.T) {
	s, c, read := storedFamily(t, newFamily())
	next := read.Next()
	next.Left = nil
	if _, err := authority.New(home, c, nil).CommitFamily(ctx, read, next); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFamily(ctx, read, next); !apierrors.IsConflict(err) {
		t.Errorf("what somebody else wrote is overwritten: %v", err)
	}
	if again, err := s.CachedFamily(ctx, "prod", "prod"); err != nil || len(again.Left) > 0 {
		t.Errorf("what was written meanwhile is not read: %+v, %v", again, err)
	}
	if _, err := s.CreateFamily(ctx, newFamily()); !apierrors.IsAlreadyExists(err) {
		t.Errorf("another one of the name is created: %v", err)
	}
}

func TestFamilyInvariants(t *testing.T) {
	child := func(c authority.Child) func(*authority.Family) {
		return func(f *authority.Family) { f.Children[clusterCA] = c }
	}
	for name, step := range map[string]struct {
		before, change func(*authority.Family)
		refused        string
	}{
		"a child is made":                 {nil, child(authority.Child{UID: "u"}), ""},
		"a child is reserved":             {func(f *authority.Family) { delete(f.Children, clusterCA) }, child(authority.Child{Nonce: aNonce}), ""},
		"one that is gone is made again":  {child(authority.Child{UID: "u"}), child(authority.Child{Nonce: aNonce}), ""},
		"one that goes":                   {child(authority.Child{UID: "u"}), func(f *authority.Family) { delete(f.Children, clusterCA) }, ""},
		"another object of the same name": {nil, func(f *authority.Family) { f.UID = "later" }, ""},
		"one that was not reserved":       {func(f *authority.Family) { delete(f.Children, clusterCA) }, child(authority.Child{UID: "u"}), "not recorded before"},
		"another one in its place":        {child(authority.Child{UID: "u"}), child(authority.Child{UID: "v"}), "not recorded before"},
		"another nonce":                   {nil, child(authority.Child{Nonce: strings.Repeat("B", 26)}), "the nonce of ClusterCA/prod-ca is another one"},
		"neither nonce nor UID":           {nil, child(authority.Child{}), "either a nonce or a UID"},
		"both":                            {nil, child(authority.Child{UID: "u", Nonce: aNonce}), "either a nonce or a UID"},
		"a nonce that can be guessed":     {func(f *authority.Family) { delete(f.Children, clusterCA) }, child(authority.Child{Nonce: "1"}), "can be guessed"},
		"two of one UID": {nil, func(f *authority.Family) {
			child(authority.Child{UID: "u"})(f)
			f.Children[kubeletOfNode1] = authority.Child{UID: "u"}
		}, "one UID"},
		"a family of another":               {nil, func(f *authority.Family) { f.Name = "other" }, "it is that of ClusterPKI prod/prod"},
		"nobody's":                          {nil, func(f *authority.Family) { f.NamespaceUID = "" }, "whose it is"},
		"a family of no installation":       {nil, func(f *authority.Family) { f.HomeUID = "" }, "whose it is"},
		"more than can be read":             {nil, crowd(authority.MaxChildren + 1), "divide its nodes"},
		"more than an object of Kubernetes": {nil, crowd(authority.MaxChildren - 1), "divide its nodes"},
		"a child without a name, or a kind?": {nil, func(f *authority.Family) {
			f.Children[authority.ChildKey{Kind: "ClusterCA"}] = authority.Child{UID: "x"}
		}, "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFamily()
			s, _, was := storedFamily(t, f)
			if step.before != nil {
				made := was.Next() // through what is allowed
				step.before(made)
				var err error
				if was, err = s.CommitFamily(ctx, was, made); err != nil {
					t.Fatal(err)
				}
			}
			next := was.Next()
			step.change(next)
			_, err := s.CommitFamily(ctx, was, next)
			if step.refused == "" && err != nil || step.refused != "" && (err == nil || !strings.Contains(err.Error(), step.refused)) {
				t.Errorf("want %q, got %v", step.refused, err)
			}
		})
	}
}

// crowd are children whose nonces cannot be packed.
func crowd(n int) func(*authority.Family) {
	return func(f *authority.Family) {
		f.Children = map[authority.ChildKey]authority.Child{}
		for i := range n {
			key := authority.ChildKey{Kind: "NodeCredential", Name: fmt.Sprintf("prod-%d", i)}
			f.Children[key] = authority.Child{Nonce: fmt.Sprintf("%x", hash(i))}
		}
	}
}

func hash(i int) [sha512.Size]byte { return sha512.Sum512(fmt.Append(nil, i)) }

// A cluster of a thousand nodes fits with a wide margin.
func TestAThousandHostsAreRecorded(t *testing.T) {
	f := newFamily()
	for i := range 1000 {
		for j, role := range []string{"kubelet", "kubelet-serving", "kube-proxy", "host"} {
			key := authority.ChildKey{Kind: "NodeCredential", Name: fmt.Sprintf("prod-node-%04d.prod.example-%s", i, role)}
			f.Children[key] = authority.Child{Host: f.Children[key].Host, Nonce: fmt.Sprintf("%026d%x", i*j, hash(i+j))}
		}
	}
	_, c, _ := storedFamily(t, f)
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "cpki.prod.prod"}, &s); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Data["children.json.gz"]); n > 400<<10 {
		t.Errorf("%d bytes", n)
	}
}

// The cache holds a family, for nothing of it is secret; and no other Secret's data.
func TestTheCacheHoldsFamilies(t *testing.T) {
	_, c, _ := storedFamily(t, newFamily())
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "cpki.prod.prod"}, &s); err != nil {
		t.Fatal(err)
	}
	o, err := authority.WithoutKeys(&s)
	if err != nil {
		t.Fatal(err)
	}
	f, err := authority.DecodeFamily(o.(*corev1.Secret))
	if err != nil || len(f.Children) != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	if id, ok := authority.FamilyOf(o.(*corev1.Secret)); !ok || id != newFamily().Identity {
		t.Errorf("it is that of %+v", id)
	}
	if _, ok := authority.IdentityOf(o.(*corev1.Secret)); ok {
		t.Error("it is taken for a CA's")
	}
}

func TestACopiedFamilyIsNotRead(t *testing.T) {
	_, c, _ := storedFamily(t, newFamily())
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "cpki.prod.prod"}, &s); err != nil {
		t.Fatal(err)
	}
	s.Name = "cpki.prod.other"
	if _, err := authority.DecodeFamily(&s); err == nil || !strings.Contains(err.Error(), "copied") {
		t.Error(err)
	}
	if _, ok := authority.FamilyOf(&s); ok {
		t.Error("it is taken for another one's")
	}
	s.Data = map[string][]byte{"cluster.json": []byte("{")}
	s.Name, s.ResourceVersion, s.UID = "cpki.prod.damaged", "", ""
	if err := c.Create(ctx, &s); err != nil {
		t.Fatal(err)
	}
	if _, err := authority.New(home, c, nil).LiveFamily(ctx, "prod", "damaged"); !authority.IsUnreadable(err) {
		t.Errorf("a damaged one: %v", err)
	}
}

// FuzzDecodeFamily reads whatever stands in the Secret of a ClusterPKI: what is taken says whose it is, is written and read the same, and
// can be written; and a small text never becomes a large one.
func FuzzDecodeFamily(f *testing.F) {
	_, c, _ := storedFamily(f, newFamily())
	good := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "cpki.prod.prod"}, good); err != nil {
		f.Fatal(err)
	}
	pack := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := io.WriteString(z, text)
		if err := errors.Join(err, z.Close()); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	document := good.Data["cluster.json"]
	f.Add(document, good.Data["children.json.gz"])
	f.Add(document, pack("null"))
	f.Add(document, pack(`[{"kind":"ClusterCA","name":"a","uid":"u"},{"kind":"ClusterCA","name":"a","uid":"v"}]`))
	f.Add(document, pack(`[{"kind":"ClusterCA","name":"a","uid":"u"},{"kind":"ClusterCA","name":"b","uid":"u"}]`))
	f.Add(document, pack(strings.Repeat(" ", 9<<20)))
	f.Add(document, good.Data["children.json.gz"][:20])
	f.Add([]byte("null"), good.Data["children.json.gz"])
	f.Fuzz(func(t *testing.T, document, children []byte) {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: good.Name, UID: types.UID("u"), ResourceVersion: "1"}, Type: authority.FamilySecretType,
			Data: map[string][]byte{"cluster.json": document, "children.json.gz": children},
		}
		read, err := authority.DecodeFamily(s)
		if err != nil {
			return
		}
		if read.Namespace != "prod" || read.Name != "prod" || read.NamespaceUID == "" || len(read.Children) > authority.MaxChildren {
			t.Fatalf("it is taken: %+v", read.Identity)
		}
		again, err := newFuzzStore().CreateFamily(ctx, read)
		if large := (*authority.FamilyTooLargeError)(nil); errors.As(err, &large) {
			return
		}
		if err != nil || !maps.Equal(again.Children, read.Children) {
			t.Errorf("it is written as %+v: %v", again, err)
		}
	})
}

func newFuzzStore() *authority.Store { s, _ := newStore(); return s }
