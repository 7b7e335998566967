package admission_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// warned keeps what the API server warns of.
type warned struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warned) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warned) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.texts, "; ")
	w.texts = nil
	return out
}

// TestRotatesIsTold: an edit that rotates CAs is answered with which ones, and any other with nothing.
func TestRotatesIsTold(t *testing.T) {
	heard := &warned{}
	mine := rest.CopyConfig(cfg)
	mine.WarningHandler = heard
	c, err := testenv.Client(mine)
	if err != nil {
		t.Fatal(err)
	}
	const before = "Validation failed for ValidatingAdmissionPolicy"
	ns := testenv.Namespace(t, admin, "rotates-")
	made := func(kind, text string) {
		t.Helper()
		o := decoded(t, kind, text)
		o.SetNamespace(ns)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	made("ClusterCA", "{metadata: {name: k8s}}")
	made("ClusterPKI", "{metadata: {name: prod}, spec: {endpoint: 'https://m:6443', serviceCIDRs: [10.96.0.0/12], certificates: {delivery: {mode: Mounted}}, controlPlane: {hosts: [{name: m}]}}}")
	testenv.Eventually(t, "all is Ready", func() error { _, err := testenv.AllReady(t.Context(), admin, ns); return err })
	heard.take()
	for _, row := range []struct{ kind, name, patch, want string }{
		{"ClusterCA", "k8s", `{"spec":{"validity":"43800h"}}`, "this rotates the CA k8s (spec.validity)"},
		{"ClusterCA", "k8s", `{"spec":{"validity":"87600h0m0s"}}`, ""},
		{"ClusterCA", "k8s", `{"spec":{"rotation":{"trigger":"now"},"subject":{"organizations":["prod"]}}}`, "this rotates the CA k8s (spec.rotation.trigger, spec.subject)"},
		{"ClusterCA", "k8s", `{"spec":{"rotation":{"trigger":"now","emergencyTrigger":"now"}}}`, "this distrusts the CA k8s at once"},
		{"ClusterCA", "k8s", `{"spec":{"policy":{"roles":["Kubelet"]}}}`, ""},
		{"ClusterCA", "prod-ca", `{"spec":{"validity":"43800h"}}`, ""}, // a child, which its ClusterPKI sets right
		{"ClusterPKI", "prod", `{"spec":{"rotation":{"trigger":"now"}}}`, "this rotates prod-ca, prod-etcd-ca, prod-front-proxy-ca, one after the other"},
		{"ClusterPKI", "prod", `{"spec":{"rotation":{"trigger":"now"},"controlPlane":{"etcd":{"mode":"None"}}}}`, "this rotates prod-ca, prod-front-proxy-ca, one after the other"},
		{"ClusterPKI", "prod", `{"spec":{"certificateAuthorities":{"etcd":{"rotation":{"trigger":"now"}}}}}`, "this rotates prod-etcd-ca: "},
		{"ClusterPKI", "prod", `{"spec":{"certificateAuthorities":{"cluster":{"validity":"43800h"}},"serviceAccountKey":{"rotation":{"trigger":"now"}}}}`, "this rotates prod-ca, prod-sa: "},
		{"ClusterPKI", "prod", `{"spec":{"rotation":{"trigger":"now","emergencyTrigger":"now"}}}`, "this distrusts prod-ca, prod-etcd-ca, prod-front-proxy-ca at once"},
		{"ClusterPKI", "prod", `{"spec":{"certificateAuthorities":{"etcd":{"rotation":{"trigger":"now","emergencyTrigger":"now"}}}}}`, "this distrusts prod-etcd-ca at once"},
		{"ClusterPKI", "prod", `{"spec":{"rotation":{"emergencyTrigger":"now"}}}`, ""}, // of no rotation
		{"ClusterPKI", "prod", `{"spec":{"nodes":{"hosts":[{"name":"n1"}]},"certificateAuthorities":{"cluster":{"validity":"87600h"}}}}`, ""},
	} {
		o := decoded(t, row.kind, "{metadata: {name: "+row.name+"}}")
		o.SetNamespace(ns)
		if err := c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(row.patch)), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", row.patch, err)
		}
		switch got := heard.take(); {
		case row.want == "" && got != "":
			t.Errorf("%s is told %q", row.patch, got)
		case row.want != "" && (!strings.Contains(got, row.want) || !strings.HasPrefix(got, before)):
			t.Errorf("%s is told %q instead of %q", row.patch, got, row.want)
		}
	}
}

// decoded is an object of a kind.
func decoded(t *testing.T, kind, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if !slices.Contains(v1alpha1.KindNames(), kind) {
		t.Fatalf("there is no kind %s", kind)
	}
	return o
}
