package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// explainFile runs the command, with a text as its standard input.
func explainFile(stdin string, args ...string) (string, error) {
	var out bytes.Buffer
	c := New()
	c.SetArgs(append([]string{"explain"}, args...))
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	err := c.Execute()
	return out.String(), err
}

// TestExplainCluster: from a file and from standard input, for people and as manifests; without a cluster.
func TestExplainCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	file := filepath.Join("..", "..", "config", "samples", "clusterpki", "cluster.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := explainFile("", "-f", file)
	if err != nil || !strings.Contains(fromFile, "ClusterPKI k8s makes 23 objects, for 4 hosts") {
		t.Errorf("%v\n%s", err, fromFile)
	}
	if piped, err := explainFile(string(text), "-f", "-"); err != nil || piped != fromFile {
		t.Errorf("%v\n%s", err, piped)
	}
	two, err := explainFile(string(text)+"---\n"+strings.Replace(string(text), "name: k8s\n", "name: prod\n", 1), "-f", "-", "-o", "yaml")
	if err != nil || strings.Count(two, "\nkind: ") != 46 || !strings.Contains(two, "name: prod-k8s-node1-kubelet\n") {
		t.Errorf("%v\n%s", err, two)
	}
}

// TestExplainRefuses tells what cannot be made from what cannot be read.
func TestExplainRefuses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "clusterpki", "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for want, tc := range map[string]struct {
		stdin, file string
		code        int
	}{
		`ClusterPKI "k8s": spec.nodes.hosts: host "k8s-master" is in spec.controlPlane.hosts too`: {strings.Replace(string(text), "k8s-node1", "k8s-master", 1), "-", exitUnwell},
		"there is no ClusterPKI in it": {"kind: Namespace", "-", exitError},
		"no such file":                 {"", "no-file.yaml", exitError},
	} {
		out, err := explainFile(tc.stdin, "-f", tc.file)
		if err == nil || !strings.Contains(err.Error(), want) || ExitCode(err) != tc.code || out != "" {
			t.Errorf("%s: %v\n%s", want, err, out)
		}
	}
}
