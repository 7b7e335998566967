package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"clusterpki.io/operator/test/testenv"
)

// TestPage runs the commands of docs/install.md that need helm, one after the other, with the program itself.
func TestPage(t *testing.T) {
	c := newCluster(t)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "helm"), "helm.sh/helm/v4/cmd/helm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build helm: %v\n%s", err, out)
	}
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(block[1], "helm ") {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", block[1])
		cmd.Dir = testenv.Root()
		home := t.TempDir()
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+c.BinaryAssetsDirectory+":"+os.Getenv("PATH"), "KUBECONFIG="+c.kubeconfig,
			"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, block[1], out)
		}
	}
	if ran < 4 {
		t.Errorf("docs/install.md shows helm in %d places", ran)
	}
	if left := c.kubectl("get", "crd", "--output=name"); !strings.Contains(left, "clustercas.clusterpki.io") {
		t.Error("the CRDs are gone")
	}
}
