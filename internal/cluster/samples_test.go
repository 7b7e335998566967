package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/defaults"
	"clusterpki.io/operator/test/golden"
)

// sample is one of config/samples/clusterpki, as an API server would hold it.
func sample(t *testing.T, name string) *v1alpha1.ClusterPKI {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "clusterpki", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.ClusterPKI{}
	if err := yaml.UnmarshalStrict(text, c); err != nil {
		t.Fatal(err)
	}
	if err := defaults.Apply(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func expand(t *testing.T, c *v1alpha1.ClusterPKI) cluster.Children {
	t.Helper()
	children, err := cluster.Expand(c)
	if err != nil {
		t.Fatal(err)
	}
	return children
}

// TestSamples: what each sample makes, and of the smallest one everything that it says.
func TestSamples(t *testing.T) {
	for _, name := range []string{"cluster", "ha", "seed"} {
		var table bytes.Buffer
		for _, c := range expand(t, sample(t, name)) {
			fmt.Fprintf(&table, "%s\t%s\n", c.Host, c.Key())
		}
		golden.Check(t, filepath.Join("testdata", name+".txt"), table.Bytes())
	}
	var all bytes.Buffer
	for _, c := range expand(t, sample(t, "cluster")) {
		text, err := yaml.Marshal(c.Object)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	golden.Check(t, filepath.Join("testdata", "cluster.yaml"), all.Bytes())
}
