package owned_test

import (
	"encoding/json"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
)

// sealer seals by a word that it puts in front.
type sealer string

func (s sealer) Of(texts ...string) string              { return string(s) + strings.Join(texts, "/") }
func (s sealer) Fits(seal string, texts ...string) bool { return s != "" && seal == s.Of(texts...) }

// products are one of each kind, as large as it can be, with a claim for a name.
func products(by sealer, name string) map[string]client.Object {
	big := strings.Repeat("x", 60<<10)
	out := map[string]client.Object{}
	for _, kind := range []string{"Secret", "ConfigMap", "Lease"} {
		meta := metav1.ObjectMeta{
			Namespace: strings.Repeat("n", 63), Name: strings.Repeat("a", 253), UID: "b6a7ad1c-7f4b-4f4e-9d6c-2f3e1a5c9d10", ResourceVersion: "123456789012",
			GenerateName: strings.Repeat("g", 200), Finalizers: []string{"x/y"}, OwnerReferences: []metav1.OwnerReference{{Name: strings.Repeat("o", 253)}},
			Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue, "x": "y"},
			Annotations: map[string]string{
				v1alpha1.OwnerAnnotation: "NodeCredential/node1", "x": big,
				v1alpha1.ClaimAnnotation: consumers.Claim{UID: "u", SpecHash: big[:8<<10]}.Text(by, kind, strings.Repeat("n", 63), name),
			},
		}
		switch kind {
		case "Secret":
			out[kind] = &corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"ca.crt": []byte(big), "tls.crt": []byte(big)}}
		case "ConfigMap":
			out[kind] = &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"ca.crt": big}}
		default:
			out[kind] = &coordinationv1.Lease{ObjectMeta: meta, Spec: coordinationv1.LeaseSpec{HolderIdentity: &big}}
		}
	}
	return out
}

// without takes the claims off.
func without(objects map[string]client.Object) map[string]client.Object {
	for _, o := range objects {
		delete(o.GetAnnotations(), v1alpha1.ClaimAnnotation)
	}
	return objects
}

// maxForeign bounds what is kept of an object that the operator did not make: 10,000 of them are 10 MB.
const maxForeign = 1 << 10

// TestForeignObjectsAreBare: of what bears the operator's label and not its seal, the cache keeps that it is there. What it made, or may have, it keeps.
func TestForeignObjectsAreBare(t *testing.T) {
	name := strings.Repeat("a", 253)
	known := func(s sealer) func(bool) (consumers.Sealer, bool) {
		return func(bool) (consumers.Sealer, bool) { return s, true }
	}
	for what, tc := range map[string]struct {
		objects map[string]client.Object
		seal    func(again bool) (consumers.Sealer, bool)
		whole   bool
	}{
		"of the operator":                   {products("seal", name), known("seal"), true},
		"under a seal that was just made":   {products("seal", name), func(again bool) (consumers.Sealer, bool) { return map[bool]sealer{true: "seal"}[again], true }, true},
		"while the seal cannot be read":     {products("other", name), func(bool) (consumers.Sealer, bool) { return nil, false }, true},
		"where the cache knows no seal":     {products("other", name), nil, true},
		"under another seal":                {products("other", name), known("seal"), false},
		"of another name":                   {products("seal", "b"), known("seal"), false},
		"before there is a seal":            {products("seal", name), known(""), false},
		"without a claim, and without seal": {without(products("", name)), func(bool) (consumers.Sealer, bool) { return nil, false }, false},
	} {
		for kind, o := range tc.objects {
			c := &owned.Cache{Seal: tc.seal}
			out, err := c.Transform(o.DeepCopyObject())
			if err == nil {
				out, err = c.Transform(out) // as an informer may
			}
			kept, ok := out.(client.Object)
			text, jsonErr := json.Marshal(out)
			if err != nil || jsonErr != nil || !ok {
				t.Fatal(err, jsonErr)
			}
			if whole := len(text) > 8<<10; whole != tc.whole || !tc.whole && (!owned.IsCut(kept) || len(text) > maxForeign) {
				t.Errorf("%s, %s: %d bytes are kept", what, kind, len(text))
			}
			if kept.GetUID() != o.GetUID() || kept.GetResourceVersion() != o.GetResourceVersion() || kept.GetName() != name || kept.GetNamespace() != o.GetNamespace() ||
				kept.GetAnnotations()[v1alpha1.OwnerAnnotation] != "NodeCredential/node1" || !owned.Selector.Matches(labels.Set(kept.GetLabels())) {
				t.Errorf("%s, %s: it is not known any more: %s", what, kind, text)
			}
			if !tc.whole {
				t.Logf("%s, %s: %d bytes are kept", what, kind, len(text))
			}
		}
	}
}
