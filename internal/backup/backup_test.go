package backup

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestRenderForgetsApply: what kubectl apply left in an annotation holds keys in clear text, and makes the next apply take
// the mark of a restored object away.
func TestRenderForgetsApply(t *testing.T) {
	const key, remembered = "dGhlIGtleQ==", "kubectl.kubernetes.io/last-applied-configuration"
	object := func(version, kind, name string) unstructured.Unstructured {
		var o unstructured.Unstructured
		o.SetAPIVersion(version)
		o.SetKind(kind)
		o.SetName(name)
		o.SetAnnotations(map[string]string{remembered: `{"data":{"tls.key":"` + key + `"}}`, "note": "kept"})
		return o
	}
	secret, ca := object("v1", "Secret", "legacy-ca"), object("clusterpki.io/v1alpha1", "ClusterCA", "k8s")
	ca.Object["status"] = map[string]any{"generations": []any{map[string]any{"number": int64(1)}}}
	secret.Object["data"] = map[string]any{"tls.key": key}
	text, err := Render([]unstructured.Unstructured{secret, ca})
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(key)); n != 1 || !bytes.Contains(text, []byte("data:\n  tls.key: "+key)) {
		t.Errorf("the key stands in %d places, and should under data alone:\n%s", n, text)
	}
	if strings.Contains(string(text), remembered) || bytes.Count(text, []byte("note: kept")) != 2 {
		t.Errorf("the annotations are wrong:\n%s", text)
	}
	if n := bytes.Count(text, []byte(v1alpha1.RestoredAnnotation+`: "true"`)); n != 1 {
		t.Errorf("%d objects are marked as restored, and should be one", n)
	}
	if secret.GetAnnotations()[remembered] == "" {
		t.Error("what was read was changed")
	}
}

// TestMarks: a CA that never had a key is to be made by whoever restores it, and is not marked.
func TestMarks(t *testing.T) {
	object := func(version, kind, namespace, name string) unstructured.Unstructured {
		var o unstructured.Unstructured
		o.SetAPIVersion(version)
		o.SetKind(kind)
		o.SetNamespace(namespace)
		o.SetName(name)
		return o
	}
	const ours = "clusterpki.io/v1alpha1"
	key := object("v1", "Secret", "clusterpki-authority", "ca.prod.k8s")
	key.Object["type"] = "clusterpki.io/authority"
	text, err := Render([]unstructured.Unstructured{
		object(ours, "NodeCredential", "prod", "node"), object(ours, "ClusterCA", "prod", "new"), object(ours, "ClusterCA", "prod", "k8s"), key,
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(v1alpha1.RestoredAnnotation)); n != 2 {
		t.Errorf("%d objects are marked as restored, and should be two:\n%s", n, text)
	}
	if !strings.HasPrefix(string(text), "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: ca.prod.k8s") {
		t.Errorf("what decides does not come first:\n%s", text)
	}
}

// TestParse refuses what is no backup.
func TestParse(t *testing.T) {
	secret := func(name, rest string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: clusterpki-authority}\n" + rest
	}
	for want, text := range map[string]string{
		"nothing of clusterpki": "---\n",
		"no YAML":               "{",
		"does not write":        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}",
		"malformed ledger.json": secret("ca.prod.k8s", "type: clusterpki.io/authority"),
		"no key of seals":       secret("seal", "type: clusterpki.io/seal\ndata: {key: AAAA}"),
		"it was copied": secret("ca.prod.other", "type: clusterpki.io/authority\nstringData: {}\ndata:\n  ledger.json: "+
			base64.StdEncoding.EncodeToString([]byte(`{"namespace":"prod","name":"k8s","ledger":{"revision":1}}`))),
	} {
		if _, err := Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v", text, err)
		}
	}
}
