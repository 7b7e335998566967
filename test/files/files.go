// Package files holds what the operator and an agent wrote on a real API server. Fuzz targets begin with it. There is no private key among
// it: `go test ./test/e2e -run TestAgentKeepsAHostCurrent -args -update` writes it anew.
package files

import (
	"embed"
	"testing"

	"sigs.k8s.io/yaml"
)

//go:embed *.yaml *.json *.conf
var all embed.FS

// Read is the text of a file.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	text, err := all.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Object is the object of a file.
func Object[T any](t testing.TB, name string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict(Read(t, name), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// All are the texts of all files.
func All(t testing.TB) [][]byte {
	t.Helper()
	entries, err := all.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, e := range entries {
		out = append(out, Read(t, e.Name()))
	}
	return out
}
