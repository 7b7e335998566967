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
	return load(t, filepath.Join("..", "..", "config", "samples", "clusterpki", name+".yaml"))
}

func load(t *testing.T, path string) *v1alpha1.ClusterPKI {
	t.Helper()
	text, err := os.ReadFile(path)
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
	children, err := cluster.Expand(c, cluster.Names{})
	if err != nil {
		t.Fatal(err)
	}
	return children
}

// TestSamples: what each sample makes.
func TestSamples(t *testing.T) {
	for _, name := range []string{"cluster", "ha", "hosted", "seed"} {
		var table bytes.Buffer
		for _, c := range expand(t, sample(t, name)) {
			fmt.Fprintf(&table, "%s\t%s\n", c.Host, c.Key())
		}
		golden.Check(t, filepath.Join("testdata", name+".txt"), table.Bytes())
	}
}

// TestSpecs: what the children of the smallest sample say, and those of a ClusterPKI that says all that it can; and with the defaults of their kinds.
// test/crd has the API server's own code admit them, and compares its defaults.
func TestSpecs(t *testing.T) {
	for name, c := range map[string]*v1alpha1.ClusterPKI{
		"cluster": sample(t, "cluster"), "everything": load(t, filepath.Join("testdata", "everything.in.yaml")),
	} {
		children := expand(t, c)
		golden.Check(t, filepath.Join("testdata", name+".yaml"), documents(t, children))
		for _, child := range children {
			if err := defaults.Apply(child.Object); err != nil {
				t.Fatal(err)
			}
		}
		golden.Check(t, filepath.Join("testdata", name+".defaults.yaml"), documents(t, children))
	}
}

func documents(t *testing.T, children cluster.Children) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, c := range children {
		text, err := yaml.Marshal(c.Object)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	return all.Bytes()
}
