package backup

import (
	"bytes"
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
