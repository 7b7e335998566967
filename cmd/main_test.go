package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies keeps what starts clusters and puts them under load out of the program that holds keys.
func TestDependencies(t *testing.T) {
	const module = "clusterpki.io/operator/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for name := range strings.Lines(string(out)) {
		linked[strings.TrimSpace(name)] = true
	}
	if !linked[module+"internal/controller"] {
		t.Fatalf("the operator is not linked into it: %s", out)
	}
	for _, name := range []string{"config", "internal/demo", "internal/load", "internal/process", "internal/target"} {
		if linked[module+name] {
			t.Errorf("%s is linked into it: that belongs into cmd/demo", name)
		}
	}
}
