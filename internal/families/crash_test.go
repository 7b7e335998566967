package families_test

import (
	"errors"
	"maps"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

var errCrash = errors.New("the process ends here")

// Between the record and the POST: nothing is there, and the nonce is used. Between the POST and the record: what is there is known by it.
func TestACrashBetweenRecordAndObject(t *testing.T) {
	for name, at := range map[string]func(verb string, o client.Object) bool{
		"before the first POST": func(verb string, o client.Object) bool { return verb == "create" && o.GetName() == "prod-ca" },
		"before another POST":   func(verb string, o client.Object) bool { return verb == "create" && o.GetName() == kubelet.Name },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault = func(verb string, o client.Object) error {
				if at(verb, o) {
					return errCrash
				}
				return nil
			}
			if _, err := w.visit(); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			nonce := w.recorded(kubelet).Nonce
			w.fault = nil
			w.restart()
			w.brought()
			if o := w.get(kubelet); nonce == "" || o.GetAnnotations()[v1alpha1.NonceAnnotation] != nonce || w.recorded(kubelet).UID != o.GetUID() {
				t.Errorf("%+v", w.recorded(kubelet))
			}
		})
	}
	w := newWorld(t)
	updates := 0
	w.fault = func(verb string, _ client.Object) error {
		if verb == "update" {
			if updates++; updates == 2 { // the UIDs of what was made
				return errCrash
			}
		}
		return nil
	}
	if _, err := w.visit(); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	made := map[cluster.Key]string{}
	for _, c := range w.expand() {
		if w.recorded(c.Key()).UID != "" {
			t.Fatalf("%s is recorded", c.Key())
		}
		made[c.Key()] = string(w.get(c.Key()).GetUID())
	}
	w.fault = nil
	w.restart()
	if r := w.brought(); len(r.Problems) > 0 || r.Made != len(made) {
		t.Errorf("%+v", r)
	}
	for k := range maps.Keys(made) {
		if got := w.recorded(k).UID; string(got) != made[k] || string(w.get(k).GetUID()) != made[k] {
			t.Errorf("%s is made anew, or not known: %q", k, got)
		}
	}
}
