package families

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/defaults"
)

// specField is the field of an object that says what is wanted.
const specField = "spec"

// peoples are the fields of children that people set by themselves, each under a verb of its own: a command at night must not keep the
// ClusterPKI from its work.
var peoples = [][]string{
	{specField, "revocation"},
	{specField, "renewal", "trigger"},
	{specField, "rotation", "emergencyTrigger"},
	{specField, "rotation", "approved"},
	{specField, "delivery", "acknowledged"},
	{specField, "keySource"},
	{specField, "hostKeySHA256"},
	{specField, "request"},
}

func isPeoples(path []string) bool {
	return slices.ContainsFunc(peoples, func(p []string) bool { return len(path) >= len(p) && slices.Equal(path[:len(p)], p) })
}

// difference is where a child is not what is wanted.
type difference struct {
	wrong [][]string // fields that are wanted otherwise
	extra [][]string // fields that are not wanted at all
}

func (d difference) same() bool { return len(d.wrong) == 0 && len(d.extra) == 0 }

func (d difference) all() [][]string { return append(slices.Clone(d.wrong), d.extra...) }

// own says whether one of the fields that are not wanted was set by the operator, some time before.
func (d difference) own(o v1alpha1.Object) bool {
	return slices.ContainsFunc(d.extra, func(path []string) bool { return slices.Contains(setBy(o, path), FieldManager) })
}

// where are the fields that say where a child's key goes.
var where = [][]string{{specField, "secretName"}, {specField, "secretTemplate"}, {specField, "outputs"}}

// leads says whether somebody else says where the child's key goes: it gets no other identity until that is taken off.
func (d difference) leads(o v1alpha1.Object) bool {
	return slices.ContainsFunc(d.extra, func(path []string) bool {
		return slices.ContainsFunc(where, func(w []string) bool { return slices.Equal(path[:min(len(path), len(w))], w) }) && len(managersOf(o, path)) > 0
	})
}

// compare compares the whole spec of a child with what is wanted, as the API server would complete that.
func compare(wanted, now v1alpha1.Object) (difference, error) {
	want, err := completed(wanted)
	if err != nil {
		return difference{}, err
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(now)
	if err != nil {
		return difference{}, fmt.Errorf("read %s/%s: %w", now.Kind(), now.GetName(), err)
	}
	var d difference
	d.walk([]string{specField}, want[specField], have[specField])
	return d, nil
}

func (d *difference) walk(path []string, want, have any) {
	wanted, isMap := want.(map[string]any)
	there, also := have.(map[string]any)
	if !isMap || !also {
		if !reflect.DeepEqual(want, have) {
			d.wrong = append(d.wrong, path)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if value, found := there[name]; found {
			d.walk(below(path, name), wanted[name], value)
		} else {
			d.wrong = append(d.wrong, below(path, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, asked := wanted[name]; !asked {
			d.beside(below(path, name), there[name])
		}
	}
}

// beside finds, below a field that is not wanted, what people do not set by themselves.
func (d *difference) beside(path []string, have any) {
	fields, isMap := have.(map[string]any)
	switch {
	case isPeoples(path):
	case isMap && slices.ContainsFunc(peoples, func(p []string) bool { return len(p) > len(path) && slices.Equal(p[:len(path)], path) }):
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			d.beside(below(path, name), fields[name])
		}
	default:
		d.extra = append(d.extra, path)
	}
}

func below(path []string, name string) []string { return append(slices.Clip(slices.Clone(path)), name) }

// completed is an object with the defaults of its kind, as it is read back.
func completed(o v1alpha1.Object) (map[string]any, error) {
	full, _ := o.DeepCopyObject().(v1alpha1.Object) // of one kind with the other
	if err := defaults.Apply(full); err != nil {
		return nil, err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(full)
	if err != nil {
		return nil, fmt.Errorf("encode %s/%s: %w", o.Kind(), o.GetName(), err)
	}
	return fields, nil
}

// managersOf are the names of those who have set a field, but for the operator.
func managersOf(o v1alpha1.Object, path []string) []string {
	return slices.DeleteFunc(setBy(o, path), func(name string) bool { return name == FieldManager })
}

// setBy are the names of those who have set a field, or anything below it.
func setBy(o v1alpha1.Object, path []string) []string {
	var out []string
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource == "" && owns(entry, path) && !slices.Contains(out, entry.Manager) {
			out = append(out, entry.Manager)
		}
	}
	slices.Sort(out)
	return out
}

func owns(entry metav1.ManagedFieldsEntry, path []string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var fields map[string]any
	if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
		return false
	}
	for _, name := range path {
		inside, found := fields["f:"+name].(map[string]any)
		if !found {
			return false
		}
		fields = inside
		if !slices.ContainsFunc(slices.Collect(maps.Keys(fields)), func(k string) bool { return strings.HasPrefix(k, "f:") }) {
			return true // it is held as a whole, or item by item
		}
	}
	return true
}
