package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGenerated: config/schemas is what the CRDs make of it.
func TestGenerated(t *testing.T) {
	all, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join("..", "..", "config", "schemas")
	for name, want := range all {
		if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not as generated (%v): run `make manifests`", name, err)
		}
		if strings.Contains(string(want), "x-kubernetes") {
			t.Errorf("%s has what only an API server reads", name)
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) != len(all) {
		t.Errorf("there are %d schemas for %d kinds: %v", len(files), len(all), err)
	}
}
