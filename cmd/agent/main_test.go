package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxSize bounds the program, in bytes.
const maxSize = 25_000_000

// forbidden are packages that no host needs: of the operator, of its command line, and of clients for every kind that there is.
var forbidden = regexp.MustCompile(`^(sigs\.k8s\.io/controller-runtime|k8s\.io/client-go/(kubernetes|informers|dynamic|discovery|applyconfigurations)|` +
	`github\.com/(spf13/cobra|prometheus)|go\.uber\.org/zap|` +
	`clusterpki\.io/operator/internal/(cli|controller|dashboard|authority|ca|leaf|cluster|owned|metrics|backup|rotate|demo|clientreader))(/|$)`)

// TestDependencies: what hosts run holds only what a host needs.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if !strings.Contains(string(out), "clusterpki.io/operator/internal/agent\n") {
		t.Fatalf("the agent is not linked into it: %s", out)
	}
	for _, name := range names {
		if forbidden.MatchString(name) {
			t.Errorf("%s is linked into it", name)
		}
	}
}

// TestSize builds it as `make build` does, and runs what comes out.
func TestSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clusterpki")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > maxSize {
		t.Errorf("it has %d bytes, and may have %d", info.Size(), maxSize)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, "clusterpki "},
		{[]string{"help"}, 0, "clusterpki agent --config FILE"},
		{nil, 2, "Usage:"},
		{[]string{"rotate"}, 2, `there is no command "rotate" on a host`},
		{[]string{"agent"}, 2, "Usage:"},
		{[]string{"agent", "--confg", "x"}, 2, "flag provided but not defined"},
		{[]string{"agent", "--config", "/nonexistent/agent.yaml"}, 1, "make it with `clusterpki agent install -n NAMESPACE --host HOST`"},
	} {
		cmd := exec.CommandContext(t.Context(), file, c.args...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%q ends with %d and says\n%s", c.args, cmd.ProcessState.ExitCode(), out)
		}
	}
}
