package attacks_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// policies is whoever makes admission policies, for this namespace.
func policies(*victim) client.Client { return admin }

// rewriteLabels lets a policy rewrite, in one namespace, the labels of what the operator writes: no cache ever shows that. More
// objects have this than an operator has workers. They say so, and another namespace does not notice; without the policy all is well.
func rewriteLabels(v *victim, mallory client.Client) {
	end := v.relabels(mallory)
	v.edit(&v1alpha1.NodeCredential{}, "node1", func(o client.Object) { // is written, and lost
		o.(*v1alpha1.NodeCredential).Spec.Validity = metav1.Duration{Duration: 100 * time.Hour}
	})
	objects := map[string]v1alpha1.Object{"node1": &v1alpha1.NodeCredential{}}
	for i := range 8 {
		ca, asc, node := clusterCA(fmt.Sprintf("lost-ca%d", i)), server(fmt.Sprintf("lost-master%d", i)), kubelet(fmt.Sprintf("lost%d", i))
		v.create(ca, asc, node)
		objects[asc.Name], objects[node.Name] = &v1alpha1.APIServerCertificate{}, &v1alpha1.NodeCredential{}
	}
	for name, o := range objects {
		v.told(o, name, v1alpha1.StalledCondition, v1alpha1.ReasonLabelStripped)
	}
	for name, o := range objects {
		v.look(o, name) // the operator reads what it wrote
	}
	other := newVictim(v.t)
	other.joins()
	other.rotates()

	end()
	for name, o := range objects {
		v.look(o, name)
	}
	for name, o := range objects {
		v.ready(o, name)
		testenv.Eventually(v.t, name+" has its Secret back", func() error {
			if s := v.secret(name + "-tls"); s.Labels[v1alpha1.ManagedLabel] != v1alpha1.ManagedValue {
				return fmt.Errorf("its labels are %v", s.Labels)
			}
			return nil
		})
	}
}

// relabels puts a MutatingAdmissionPolicy in force, and returns what takes it away again.
func (v *victim) relabels(mallory client.Client) (end func()) {
	v.t.Helper()
	rewritten := []string{v1alpha1.ManagedLabel, v1alpha1.ManagedByLabel}
	var patches []string
	for _, label := range rewritten {
		path := "/metadata/labels/" + strings.ReplaceAll(label, "/", "~1")
		patches = append(patches, fmt.Sprintf(`JSONPatch{op: "add", path: %q, value: "policy"}`, path))
	}
	kind := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": v.ns}, "spec": spec,
		}}
	}
	policy := kind("MutatingAdmissionPolicy", map[string]any{
		"reinvocationPolicy": "Never", "failurePolicy": "Fail",
		"matchConstraints": map[string]any{
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{corev1.LabelMetadataName: v.ns}},
			"resourceRules": []any{map[string]any{
				"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"secrets", "configmaps"}, "operations": []any{"CREATE", "UPDATE"},
			}},
		},
		"matchConditions": []any{map[string]any{
			"name": "labelled", "expression": fmt.Sprintf("has(object.metadata.labels) && %q in object.metadata.labels", v1alpha1.ManagedLabel),
		}},
		"mutations": []any{map[string]any{
			"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": "[" + strings.Join(patches, ", ") + "]"},
		}},
	})
	binding := kind("MutatingAdmissionPolicyBinding", map[string]any{"policyName": v.ns})
	end = func() {
		v.t.Helper()
		for _, o := range []client.Object{binding, policy} {
			v.must(client.IgnoreNotFound(mallory.Delete(v.t.Context(), o)))
		}
		v.rewrites(false)
	}
	v.must(mallory.Create(v.t.Context(), policy))
	v.must(mallory.Create(v.t.Context(), binding))
	v.rewrites(true)
	return end
}

// rewrites waits until the policy is in force, or is not.
func (v *victim) rewrites(want bool) {
	v.t.Helper()
	testenv.Eventually(v.t, fmt.Sprintf("labels are rewritten: %t", want), func() error {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "probe-", Namespace: v.ns, Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue},
		}}
		if err := admin.Create(v.t.Context(), probe); err != nil {
			return err
		}
		v.must(admin.Delete(v.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: probe.Name, Namespace: v.ns}}))
		if got := probe.Labels[v1alpha1.ManagedLabel] != v1alpha1.ManagedValue; got != want {
			return errors.New("they are not so yet")
		}
		return nil
	})
}
