package owned_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
)

// pair is a certificate and its key.
func pair(t *testing.T, spec pki.KeySpec) (cert, key []byte) {
	t.Helper()
	now := time.Now()
	ca, err := pki.SelfSign(now, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.Issue(now, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "node1"}, Usages: []pki.Usage{pki.ClientAuth}, Key: spec, Validity: time.Hour,
	}, ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err = leaf.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return leaf.CertPEM(), key
}

// TestNotedHoldsNoKey looks for a key, in every form, in what a cache keeps of its Secret.
func TestNotedHoldsNoKey(t *testing.T) {
	for _, spec := range []pki.KeySpec{{Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.Ed25519}} {
		cert, key := pair(t, spec)
		s := &corev1.Secret{Data: map[string][]byte{
			"tls.crt": cert, "tls.key": key, "ca.crt": cert, "kubeconfig.files": []byte("files"), "other": key,
			"value": []byte("client-key-data: " + base64.StdEncoding.EncodeToString(key)),
		}}
		out, err := (&owned.Cache{}).Transform(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := (&owned.Cache{}).Transform(out) // as an informer may
		if err != nil {
			t.Fatal(err)
		}
		kept, _ := again.(*corev1.Secret)
		if !bytes.Equal(owned.NotedDigest(kept, "tls.key"), owned.DigestOf(key)) || owned.NotedDigest(kept, "value") == nil {
			t.Errorf("%s: the digests are lost", spec)
		}
		if owned.KeyProblem(kept) != nil || !bytes.Equal(kept.Data["tls.crt"], cert) || !bytes.Equal(kept.Data["ca.crt"], cert) {
			t.Errorf("%s: what gates look at is not kept: %v", spec, owned.KeyProblem(kept))
		}
		line := strings.Split(string(key), "\n")[1]
		for k, v := range kept.Data {
			if bytes.Contains(v, []byte(line)) || bytes.Contains(v, []byte(base64.StdEncoding.EncodeToString(key)[:40])) {
				t.Errorf("%s: %q holds the private key", spec, k)
			}
		}
		if plain := owned.Plain(kept); len(plain.Data) != 2 {
			t.Errorf("%s: notes are left: %v", spec, plain.Data)
		}
	}
}

// TestNotedProblem says of a key whether it fits.
func TestNotedProblem(t *testing.T) {
	cert, key := pair(t, pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	_, other := pair(t, pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	for name, tc := range map[string]struct {
		key  []byte
		want string
	}{
		"its own": {key, ""}, "another": {other, pki.ErrKeyMismatch.Error()}, "none": {nil, "no PEM private key found"},
		"too large": {append(bytes.Repeat([]byte("#"), 4<<10), key...), "more than 4 KiB"},
	} {
		err := owned.KeyProblem(owned.Noted(&corev1.Secret{Data: map[string][]byte{"tls.crt": cert, "tls.key": tc.key}}))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "another" && !errors.Is(err, pki.ErrKeyMismatch) {
			t.Errorf("%s: it is no mismatch: %v", name, err)
		}
	}
}

// TestEmbeddedDigest is the same for every key in its place, and another for everything else.
func TestEmbeddedDigest(t *testing.T) {
	in := func(key string) string {
		return "a: 1\nkey: " + base64.StdEncoding.EncodeToString([]byte(key)) + "\nb: 2\n"
	}
	want := owned.EmbeddedDigest([]byte(in("first")), []byte("first"))
	for name, tc := range map[string]struct {
		text, key string
		same      bool
	}{
		"another key":               {in("second"), "second", true},
		"somebody else's key there": {in("third"), "second", false},
		"a placeholder as a text":   {in("PLACEHOLDER"), "second", false},
		"another text":              {in("second") + "c: 3\n", "second", false},
		"the key twice":             {in("second") + in("second"), "second", false},
		"no key":                    {in("second"), "", false},
	} {
		if got := bytes.Equal(owned.EmbeddedDigest([]byte(tc.text), []byte(tc.key)), want); got != tc.same {
			t.Errorf("%s: the same is %v", name, got)
		}
	}
}

// TestCacheShares keeps what many Secrets have in common once, leaves out what is too large, and drops what others keep for
// themselves on our objects.
func TestCacheShares(t *testing.T) {
	c := &owned.Cache{}
	kept := func(s *corev1.Secret) *corev1.Secret {
		out, err := c.Transform(s)
		if err != nil {
			t.Fatal(err)
		}
		k, _ := out.(*corev1.Secret)
		return k
	}
	bundle := func() map[string][]byte { return map[string][]byte{"ca.crt": []byte("the bundle of thousands")} }
	a, b := kept(&corev1.Secret{Data: bundle()}), kept(&corev1.Secret{Data: bundle()})
	if &a.Data["ca.crt"][0] != &b.Data["ca.crt"][0] {
		t.Error("a bundle is kept twice")
	}
	for i := range 10 { // more than is remembered for sharing
		large := bytes.Repeat(fmt.Append(nil, i), 100<<10)
		if got := kept(&corev1.Secret{Data: map[string][]byte{"ca.crt": large}}); owned.IsCut(got) || len(got.Data["ca.crt"]) != len(large) {
			t.Error("what is not too large is left out")
		}
	}
	if got := kept(&corev1.Secret{Data: map[string][]byte{"ca.crt": make([]byte, 200<<10)}}); !owned.IsCut(got) || len(owned.Plain(got).Data) > 0 {
		t.Error("what is too large is kept")
	}
	cred := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "x": "y"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	if _, err := c.Transform(cred); err != nil || len(cred.ManagedFields) > 0 || len(cred.Annotations) != 1 {
		t.Errorf("%+v: %v", cred.ObjectMeta, err)
	}
}

// TestMetadataIsBounded: what others write beside the operator's marks does not fill the cache.
func TestMetadataIsBounded(t *testing.T) {
	big := map[string]string{"a": strings.Repeat("x", 200<<10), v1alpha1.OwnerAnnotation: "NodeCredential/node1", v1alpha1.ClaimAnnotation: "claim"}
	for _, o := range []metav1.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: big}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Annotations: big}},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: big, OwnerReferences: make([]metav1.OwnerReference, 1000)}},
	} {
		out, err := (&owned.Cache{}).Transform(o)
		if err != nil {
			t.Fatal(err)
		}
		m := out.(metav1.Object)
		if got := m.GetAnnotations(); !owned.IsCut(m) || len(got) != 3 || got[v1alpha1.ClaimAnnotation] != "claim" || len(m.GetOwnerReferences()) > 16 {
			t.Errorf("%T keeps %d annotations and %d owners", o, len(got), len(m.GetOwnerReferences()))
		}
	}
}

// TestCutIsTheCachesWord: no object of an API server can bear the mark, and one that names itself cut is not.
func TestCutIsTheCachesWord(t *testing.T) {
	for _, o := range []client.Object{&corev1.Secret{Data: map[string][]byte{"ca.crt": make([]byte, 200<<10)}}, &corev1.ConfigMap{Data: map[string]string{"ca.crt": strings.Repeat("x", 200<<10)}},
		&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"x": strings.Repeat("x", 100<<10)}}}} {
		for range 2 { // an informer may transform what it has listed once more
			out, err := (&owned.Cache{}).Transform(o)
			if err != nil {
				t.Fatal(err)
			}
			o = out.(client.Object)
		}
		if len(o.GetAnnotations()) != 1 || !owned.IsCut(o) {
			t.Errorf("%T: %v", o, o.GetAnnotations())
		}
		for key := range o.GetAnnotations() {
			if refused := validation.ValidateAnnotations(map[string]string{key: "true"}, nil); len(refused) == 0 {
				t.Errorf("%T: the API server takes %q", o, key)
			}
		}
	}
	written := map[string]string{"clusterpki.io/cut": "true", "cut": "true"}
	for _, o := range []client.Object{
		&corev1.Secret{}, &corev1.ConfigMap{}, &coordinationv1.Lease{}, &v1alpha1.ClusterCA{}, &v1alpha1.NodeCredential{}, &v1alpha1.APIServerCertificate{},
	} {
		o.SetAnnotations(maps.Clone(written))
		if out, err := (&owned.Cache{}).Transform(o); err != nil || owned.IsCut(out.(client.Object)) {
			t.Errorf("%T counts as cut: %v", o, err)
		}
	}
}

// TestMarksSurvive: no padding hides that an object was restored, by whomever.
func TestMarksSurvive(t *testing.T) {
	meta := metav1.ObjectMeta{Annotations: map[string]string{
		v1alpha1.OwnerAnnotation: strings.Repeat("x", 32<<10-40), v1alpha1.RestoredAnnotation: strings.Repeat("x", 40<<10), "x": strings.Repeat("x", 100<<10),
	}, Labels: map[string]string{v1alpha1.VeleroRestoreLabel: "b"}}
	out, err := (&owned.Cache{}).Transform(&v1alpha1.ClusterCA{ObjectMeta: meta})
	if err != nil {
		t.Fatal(err)
	}
	m := out.(metav1.Object)
	_, restored := m.GetAnnotations()[v1alpha1.RestoredAnnotation]
	if !restored || m.GetLabels()[v1alpha1.VeleroRestoreLabel] == "" {
		t.Errorf("the marks are lost: %v", m.GetLabels())
	}
}

// TestBoundedMetadata: whatever others write on an object, little of it is kept, and what the operator reads is.
func TestBoundedMetadata(t *testing.T) {
	big := strings.Repeat("x", 1400<<10)
	meta := metav1.ObjectMeta{
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: big, Name: "x", UID: "x"}}, Finalizers: []string{big},
		Labels: map[string]string{v1alpha1.VeleroRestoreLabel: "b"},
		Annotations: map[string]string{
			"clusterpki.io/a": strings.Repeat("x", 32<<10-40), "x": big, v1alpha1.OwnerAnnotation: "NodeCredential/node1", v1alpha1.ClaimAnnotation: "claim",
		},
	}
	for name, o := range map[string]client.Object{
		"Secret": &corev1.Secret{ObjectMeta: meta}, "ConfigMap": &corev1.ConfigMap{ObjectMeta: meta}, "NodeCredential": &v1alpha1.NodeCredential{ObjectMeta: meta},
		"Lease": &coordinationv1.Lease{ObjectMeta: meta, Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &big, PreferredHolder: &big, Strategy: new(coordinationv1.CoordinatedLeaseStrategy(big)),
		}},
	} {
		out, err := (&owned.Cache{}).Transform(o.DeepCopyObject())
		if err != nil {
			t.Fatal(err)
		}
		kept, ok := out.(client.Object)
		text, err := json.Marshal(out)
		if err != nil || !ok || len(text) > 80<<10 {
			t.Errorf("%s: %d bytes are kept: %v", name, len(text), err)
			continue
		}
		if a := kept.GetAnnotations(); a[v1alpha1.OwnerAnnotation] != "NodeCredential/node1" || a[v1alpha1.ClaimAnnotation] != "claim" || kept.GetLabels()[v1alpha1.VeleroRestoreLabel] != "b" {
			t.Errorf("%s: kept are %v and %v", name, kept.GetLabels(), len(a))
		}
		if len(kept.GetOwnerReferences()) != 1 {
			t.Errorf("%s: that it has an owner is lost", name)
		}
	}
}
