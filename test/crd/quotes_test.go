package crd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestNoKeyIsQuoted pastes private keys into each field there is, found in the CRDs: what admission answers quotes none. There are three
// exceptions, in which the API server words the answer by itself: a field whose values are listed, a text that stands where a list has
// objects, and what stands twice in a set.
func TestNoKeyIsQuoted(t *testing.T) {
	const request = "-----BEGIN CERTIFICATE REQUEST-----\nMIH=\n-----END CERTIFICATE REQUEST-----\n"
	keys := privateKeys(t)
	for _, plural := range []string{"clustercas", "apiservercertificates", "nodecredentials", "serviceaccountkeys"} {
		k := load(t, plural)
		spec := k.structural.Properties["spec"]
		for _, p := range places(&spec, nil) {
			for kind, key := range keys {
				for _, text := range []string{key, key + request, request + key, longestLine(key), longestLine(key)[:32], short(p.schema, key)} {
					once := quoted(answer(t, k, plural, p.object(&spec, text, 1)), key)
					if once != p.answeredByAPIServer() && text != "" {
						t.Errorf("%s spec.%s: %s key, pasted as %d bytes, is quoted: %v", plural, p, kind, len(text), once)
					}
					if p.inSet() && text == key && !quoted(answer(t, k, plural, p.object(&spec, text, 2)), key) {
						t.Errorf("%s spec.%s: the API server quotes no more what stands twice in a set: say so in docs/security.md", plural, p)
					}
				}
			}
		}
	}
}

// privateKeys are keys in PEM as OpenSSL and kubeadm write them.
func privateKeys(t *testing.T) map[string]string {
	t.Helper()
	edKey := must(t)(second(ed25519.GenerateKey(rand.Reader)))
	ecKey := must(t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).(*ecdsa.PrivateKey)
	rsaKey := must(t)(rsa.GenerateKey(rand.Reader, 2048)).(*rsa.PrivateKey)
	text := func(kind string, der any) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der.([]byte)}))
	}
	return map[string]string{
		"an Ed25519":      text("PRIVATE KEY", must(t)(x509.MarshalPKCS8PrivateKey(edKey))),
		"an EC":           text("EC PRIVATE KEY", must(t)(x509.MarshalECPrivateKey(ecKey))),
		"an EC (PKCS #8)": text("PRIVATE KEY", must(t)(x509.MarshalPKCS8PrivateKey(ecKey))),
		"an RSA":          text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
	}
}

// body are the lines of a key in PEM that hold the key.
func body(key string) []string {
	return slices.DeleteFunc(strings.Fields(key), func(line string) bool { return len(line) < 16 || strings.Contains(line, "-") })
}

func longestLine(key string) string {
	return slices.MaxFunc(body(key), func(a, b string) int { return len(a) - len(b) })
}

// short is so much of a key as a field has room for: what is too long, all other rules pass by. "" where that is too little to be a run.
func short(s *structuralschema.Structural, key string) string {
	text := strings.Join(body(key), "")
	if v := s.ValueValidation; v != nil && v.MaxLength != nil {
		text = text[:min(int(*v.MaxLength), len(text))]
	}
	if len(text) < 16 {
		return ""
	}
	return text
}

// quoted says whether a text has 16 bytes of a key.
func quoted(text, key string) bool {
	for _, line := range body(key) {
		for i := range len(line) - 15 {
			if strings.Contains(text, line[i:i+16]) {
				return true
			}
		}
	}
	return false
}

// answer is all that the API server says of an object.
func answer(t *testing.T, k kind, plural string, spec any) string {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "clusterpki.io/v1alpha1", "kind": k.name, "spec": spec}}
	u.SetName("x")
	err := apierrors.NewInvalid(schema.GroupKind{Group: "clusterpki.io", Kind: plural}, "x", k.admit(t, u))
	status, jsonErr := json.Marshal(err.ErrStatus)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	return err.Error() + "\n" + string(status)
}

// place is one value of a spec: the steps that lead there, and what is there. A step is the name of a field, "[]" into a list, or "{}" into a map.
type place struct {
	steps  []string
	schema *structuralschema.Structural
	above  *structuralschema.Structural
}

func (p place) String() string {
	return strings.NewReplacer(".[]", "[]", ".{}", "{}").Replace(strings.Join(p.steps, "."))
}

// answeredByAPIServer says whether no rule of ours comes first: docs/security.md names these exceptions.
func (p place) answeredByAPIServer() bool {
	listed := p.schema.ValueValidation != nil && len(p.schema.ValueValidation.Enum) > 0
	return listed || p.above.XListType != nil && *p.above.XListType == "map"
}

// inSet says whether the place is that of a text which may stand only once in its list.
func (p place) inSet() bool {
	return p.steps[len(p.steps)-1] == "[]" && p.schema.Type == "string" && p.above.XListType != nil && *p.above.XListType == "set"
}

// places are all below a schema.
func places(s *structuralschema.Structural, steps []string) []place {
	var out []place
	add := func(step string, below *structuralschema.Structural) {
		all := append(slices.Clone(steps), step)
		out = append(out, place{all, below, s})
		out = append(out, places(below, all)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		add(name, &field)
	}
	if s.Items != nil {
		add("[]", s.Items)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		add("{}", s.AdditionalProperties.Structural)
	}
	return out
}

// object is a spec with a text at the place. Around it stands what is required, of the right type: no rule is passed by because of that.
func (p place) object(s *structuralschema.Structural, text string, times int) any {
	return filled(s, p.steps, text, times)
}

func filled(s *structuralschema.Structural, steps []string, text string, times int) any {
	switch {
	case len(steps) == 0:
		return text
	case steps[0] == "[]":
		return slices.Repeat([]any{filled(s.Items, steps[1:], text, times)}, times)
	case steps[0] == "{}":
		return map[string]any{"key": filled(s.AdditionalProperties.Structural, steps[1:], text, times)}
	}
	out := least(s).(map[string]any)
	field := s.Properties[steps[0]]
	out[steps[0]] = filled(&field, steps[1:], text, times)
	return out
}

// least is a value of a schema, with no more than is required.
func least(s *structuralschema.Structural) any {
	switch s.Type {
	case "object":
		out := map[string]any{}
		if s.ValueValidation != nil {
			for _, name := range s.ValueValidation.Required {
				field := s.Properties[name]
				out[name] = least(&field)
			}
		}
		return out
	case "array":
		return []any{least(s.Items)}
	case "integer":
		return int64(1)
	case "boolean":
		return true
	}
	if s.ValueValidation != nil && len(s.ValueValidation.Enum) > 0 {
		return s.ValueValidation.Enum[0].Object
	}
	return "x"
}

// must takes a value and an error apart.
func must(t *testing.T) func(value any, err error) any {
	return func(value any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func second[A, B any](_ A, b B, err error) (any, error) { return b, err }
