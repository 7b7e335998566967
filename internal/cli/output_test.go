package cli

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestOutputForPrograms holds the names of what each command prints for programs, and that JSON and YAML are the same.
func TestOutputForPrograms(t *testing.T) {
	t.Parallel()
	w, admin := issued(t)
	for name, c := range map[string]struct {
		args []string
		kind string
		keys []string
	}{
		"status":  {[]string{"status"}, "StatusReport", []string{"clusterCAs", "clusterPKIs", "problems", "serviceAccountKeys", "time"}},
		"inspect": {[]string{"inspect", "asc/k8s-master"}, "Inspection", []string{"object", "problems", "sources", "time"}},
		"rotate": {[]string{"rotate", "k8s", "--trigger", "2026-11"}, "RotationPlan",
			[]string{"applied", "generation", "leastSeconds", "name", "namespace", "patch", "phases", "trigger", "warnings"}},
		"export": {[]string{"export", "--host", "k8s-node1", "--out", filepath.Join(t.TempDir(), "out")}, "ExportedFiles",
			[]string{"directory", "files", "host", "notes"}},
	} {
		t.Run(name, func(t *testing.T) { w.forPrograms(t, admin, c.args, c.kind, c.keys) })
	}
	out, err := w.as(admin, "rotate", "k8s", "--apply", "--trigger", "2026-11", "-o", "json")
	if err != nil || !strings.Contains(out, `"applied": true`) || w.ca().Spec.Rotation.Trigger != "2026-11" {
		t.Error(err, out)
	}
	if _, err := w.as(admin, "rotate", "k8s", "--watch", "-o", "json"); ExitCode(err) != 1 || !strings.Contains(err.Error(), "--watch is for people") {
		t.Error(err)
	}
}

func (w *fixture) forPrograms(t *testing.T, admin string, args []string, kind string, keys []string) {
	t.Helper()
	var got [2]map[string]any
	for i, format := range []string{"json", "yaml"} {
		out, err := w.as(admin, append(args, "-o", format)...)
		if err != nil {
			t.Fatal(err, out)
		}
		decode := json.Unmarshal
		if format == "yaml" {
			decode = func(text []byte, into any) error { return yaml.Unmarshal(text, into) }
		}
		if err := decode([]byte(out), &got[i]); err != nil {
			t.Fatal(err, out)
		}
		if got[i]["apiVersion"] != "cli.clusterpki.io/v1alpha1" || got[i]["kind"] != kind {
			t.Errorf("%v %v", got[i]["apiVersion"], got[i]["kind"])
		}
		delete(got[i], "time")
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("JSON and YAML differ: %s", diff)
	}
	want := append([]string{"apiVersion", "kind"}, slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == "time" })...)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got[0]))); diff != "" {
		t.Error(diff)
	}
}
