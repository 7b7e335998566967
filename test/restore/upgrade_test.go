package restore_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"
)

// fixture names the version whose objects are to be written: go test ./test/restore -run TestUpgrade -fixture v0.2.0.
var fixture = flag.String("fixture", "", "write the objects of the present version to testdata/VERSION.yaml")

// saved is a file of objects as a version of the operator left them in a cluster, and when that was.
type saved struct {
	Time    time.Time                   `json:"time"`
	Objects []unstructured.Unstructured `json:"objects"`
}

// TestUpgrade lets the present operator loose upon what earlier versions have left behind: it issues nothing, and writes
// neither a Secret nor a ConfigMap nor a spec.
func TestUpgrade(t *testing.T) {
	if *fixture != "" {
		save(t, filepath.Join("testdata", *fixture+".yaml"))
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no objects of earlier versions: %v", err)
	}
	for _, file := range files {
		version := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(version, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s saved
			if err := yaml.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			w := target.world(t, "upgrade-"+strings.ReplaceAll(version, ".", "-"))
			w.transplant(s.Objects)
			before, contents := w.written(), w.contents()
			target.operate(t, optionsOf(w, testingclock.NewFakePassiveClock(s.Time)))
			w.settled()
			w.ready()
			w.swept()
			for name, v := range w.written() {
				if v != before[name] {
					t.Errorf("%s was written", name)
				}
			}
			w.same(contents)
		})
	}
}

// written are the resource versions of what the operator made, and the generations of custom resources, which their
// specs count up and their status doesn't.
func (w *world) written() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for name, v := range w.versions() {
		if !strings.Contains(name, "v1alpha1") && !strings.Contains(name, "Lease") {
			out[name] = v
		}
	}
	for _, o := range w.resources() {
		out["the spec of "+o.GetName()] = string(rune('0' + o.GetGeneration()))
	}
	return out
}

// transplant creates objects as they stood in another cluster, with their status, and with owner references to what
// they belong to here: as if nothing but the operator had been replaced.
func (w *world) transplant(objects dump) {
	w.t.Helper()
	uids := map[string]any{}
	for _, o := range objects {
		if !ours(o) {
			continue
		}
		o.SetNamespace(w.ns)
		status := o.Object["status"]
		w.restore(dump{o})
		there := o.DeepCopy()
		w.get(o.GetName(), there)
		uids[o.GetKind()+"/"+o.GetName()] = string(there.GetUID())
		there.Object["status"] = status
		if err := w.api.Status().Update(w.t.Context(), there); err != nil {
			w.t.Fatal(err)
		}
	}
	w.restore(objects.each(func(o *unstructured.Unstructured) {
		refs, _, _ := unstructured.NestedSlice(o.Object, "metadata", "ownerReferences")
		for _, r := range refs {
			ref := r.(map[string]any)
			ref["uid"] = uids[ref["kind"].(string)+"/"+ref["name"].(string)]
		}
		if len(refs) > 0 {
			_ = unstructured.SetNestedSlice(o.Object, refs, "metadata", "ownerReferences")
		}
	}).only(func(o unstructured.Unstructured) bool { return !ours(o) }))
}

// save writes the objects of the present version, with keys that are worth nothing.
func save(t *testing.T, file string) {
	t.Helper()
	objects := issued(t).everything().each(func(o *unstructured.Unstructured) {
		for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "namespace"} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
	})
	text, err := yaml.Marshal(saved{Time: time.Now().UTC().Truncate(time.Second), Objects: objects})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
