// Package limits is where a status is written, and keeps what is written within what the CRD of its kind admits: one text that
// is too long, or one item too many, and the status could never be written again.
//
// The CRDs are the one source of every limit: they are made from the markers in api/v1alpha1, and read from the program itself.
package limits

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
)

// PatchStatus writes the status of after, where it is another than that of before, and says whether it did. What the CRD does
// not admit is cut or left out first, in after too.
func PatchStatus(ctx context.Context, c client.Client, before, after v1alpha1.Object) (bool, error) {
	if equality.Semantic.DeepEqual(before, after) {
		return false, nil
	}
	left, err := fitStatus(after)
	if err != nil {
		return false, err
	}
	if len(left) > 0 {
		log.FromContext(ctx).Error(nil, "Left out of a status what its CRD does not admit", "fields", left)
	}
	if equality.Semantic.DeepEqual(before, after) { // as it was cut before
		return false, nil
	}
	// Under the resourceVersion that was read: from a cache that lags, fields that were just removed would seem unchanged.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, after, patch); err != nil { //nolint:forbidigo // this is the one place
		return false, fmt.Errorf("patch status: %w", err)
	}
	return true, nil
}

// fitStatus cuts the texts and lists of an object's status to what its CRD admits, and leaves out what no cut makes fit. It names that:
// nobody should have written it.
func fitStatus(o v1alpha1.Object) (left []string, err error) {
	all, err := statuses()
	if err != nil {
		return nil, err
	}
	admitted, there := all[o.Kind()]
	if !there {
		return nil, fmt.Errorf("there is no CRD of kind %s", o.Kind())
	}
	status := reflect.ValueOf(o).Elem().FieldByName("Status")
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status.Addr().Interface())
	if err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	f := fitting{}
	defer func() { slices.Sort(left) }()
	if _, ok := f.fit(admitted, "status", fields); !ok {
		return f.left, fmt.Errorf("the CRD admits nothing of the status: it has no %v", admitted.Required)
	}
	if !f.changed {
		return nil, nil
	}
	fitted := reflect.New(status.Type())
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, fitted.Interface()); err != nil {
		return f.left, fmt.Errorf("put the status together: %w", err)
	}
	status.Set(fitted.Elem())
	return f.left, nil
}

// Items is how many items the CRD of a kind admits in a list of its status, for who need not make more of them than that.
func Items(kind string, path ...string) int {
	all, err := statuses()
	if err != nil { // which whoever writes is told
		return math.MaxInt
	}
	s := all[kind]
	for _, name := range path {
		if s != nil {
			s = s.Properties[name]
		}
	}
	if s == nil || s.MaxItems == nil {
		return math.MaxInt
	}
	return *s.MaxItems
}

// statuses are what the CRDs admit as the status of each kind. They are read once.
var statuses = sync.OnceValues(func() (map[string]*schema, error) {
	out := map[string]*schema{}
	for _, path := range crd.Paths() {
		text, err := crd.Files.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a CRD of this program: %w", err)
		}
		var definition struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema struct{ Properties struct{ Status *schema } }
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, version := range definition.Spec.Versions {
			if version.Name == v1alpha1.GroupVersion.Version {
				out[definition.Spec.Names.Kind] = version.Schema.OpenAPIV3Schema.Properties.Status
			}
		}
	}
	return out, nil
})
