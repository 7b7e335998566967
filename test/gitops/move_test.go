package gitops_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// TestClusterPKIMoves moves a ClusterPKI from one Application to another, in each order: the one that has it takes it out of Git before the other one has
// it, or after that. No object, no Secret and no key is made anew.
func TestClusterPKIMoves(t *testing.T) {
	for _, method := range []string{"annotation", "label"} {
		t.Run(method, func(t *testing.T) {
			c := newCluster(t, ourCRDs(), filepath.Join(argoCD(t), "crds"))
			c.start("operator", nil, clusterpki(), "manager", "--health-probe-bind-address=0")
			c.startArgoCD(map[string]string{"application.resourceTrackingMethod": method})
			pki, stays := c.sampleCluster(), c.stays("prod")
			from, to := newGit(t, "prod/pki"), newGit(t, "prod/pki")
			first := c.create("prod-pki", from)
			first.synchronizes(from.commit(pki, stays)) // a kind of others is among them, so nothing is said of what is out of sync
			c.issued()
			held := c.held()

			first.synchronizes(from.remove(pki)) // and prunes it
			c.gone(pki.DeepCopy(), "prod", pki.GetName())
			c.same("what was issued", held, c.held())
			beside := c.stays("prod")
			beside.SetName("beside")
			second := c.createAs("prod-pki", "prod-platform", to)
			second.synchronizes(to.commit(pki, beside))
			c.issued()
			c.same("what was issued", held, c.held())

			was := c.live(pki).GetUID()
			first.synchronizes(from.commit(pki)) // both have it
			second.compares(to.remove(pki))      // what bears the mark of the other one is not its own to prune
			first.compares(from.head())
			c.issued()
			c.same("what was issued", held, c.held())
			t.Logf("the ClusterPKI was made anew: %v", was != c.live(pki).GetUID())
		})
	}
}

// sampleCluster is the ClusterPKI of the samples, mounted: there are no agents here.
func (c *cluster) sampleCluster() *unstructured.Unstructured {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "config", "samples", "clusterpki", "cluster.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		c.t.Fatal(err)
	}
	set(c.t, u, map[string]any{"delivery": map[string]any{"mode": "Mounted"}}, "spec", "certificates")
	return u
}

// held is what was made for a ClusterPKI, byte for byte, and the UIDs of its objects; but for the record of whose they are.
func (c *cluster) held() map[string]string {
	c.t.Helper()
	out := c.products()
	for key, value := range withoutLedgers(c.authorities()) {
		out["authority/"+key] = value
	}
	maps.DeleteFunc(out, func(key, _ string) bool { return filepath.Base(filepath.Dir(key)) == "cpki.prod.k8s" })
	for _, k := range v1alpha1.Kinds() {
		if k.Name == v1alpha1.KindClusterPKI {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(k.Name + "List"))
		if err := c.api.List(c.t.Context(), list); err != nil {
			c.t.Fatal(err)
		}
		for i := range list.Items {
			out[k.Name+"/"+list.Items[i].GetName()] = string(list.Items[i].GetUID())
		}
	}
	return out
}
