package crd

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSamples holds every sample to the schema; unknown fields included, which kubectl would only warn of.
func TestSamples(t *testing.T) {
	kinds := map[string]kind{
		"ClusterCA":            load(t, "clustercas"),
		"APIServerCertificate": load(t, "apiservercertificates"),
		"NodeCredential":       load(t, "nodecredentials"),
		"ClusterPKI":           load(t, "clusterpkis"),
		"ServiceAccountKey":    load(t, "serviceaccountkeys"),
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range append(files, seed...) {
		checked += admitAll(t, kinds, file, read(t, file))
	}
	if checked == 0 {
		t.Error("there is no sample")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// admitAll checks every object of our kinds in a text, and counts them.
func admitAll(t *testing.T, kinds map[string]kind, from, text string) (checked int) {
	t.Helper()
	for _, document := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		u := parse(t, document)
		k, ours := kinds[u.GetKind()]
		if !ours {
			continue
		}
		checked++
		if errs := k.admit(t, u); len(errs) > 0 {
			t.Errorf("%s: %s %s: %v", from, u.GetKind(), u.GetName(), errs.ToAggregate())
		}
	}
	return checked
}
