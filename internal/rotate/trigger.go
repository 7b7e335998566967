// Package rotate says what the rotation of a CA takes, and how far it is: objects and a time in, texts out. It
// reads and changes nothing.
package rotate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FieldManager is whom the API server notes down for a trigger that this program sets.
const FieldManager = "clusterpki-rotate"

// TriggerAt is a trigger made of a time, such as '2026-11-23T23:44:05Z'.
func TriggerAt(now time.Time) string { return now.UTC().Format(time.RFC3339) }

// Patch is the merge patch (RFC 7396) that sets the trigger; with a resourceVersion it fails where the object has
// changed since.
func Patch(trigger, resourceVersion string) ([]byte, error) {
	patch := map[string]any{"spec": map[string]any{"rotation": map[string]any{"trigger": trigger}}}
	if resourceVersion != "" {
		patch["metadata"] = map[string]any{"resourceVersion": resourceVersion}
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode the patch: %w", err)
	}
	return text, nil
}

// marks are the labels and annotations by which GitOps tools know their objects, and managers the names under which
// they write. The label app.kubernetes.io/instance says too little: Helm sets it as well.
var (
	marks = []struct{ key, tool string }{
		{"argocd.argoproj.io/tracking-id", "Argo CD"},
		{"argocd.argoproj.io/instance", "Argo CD"},
		{"kustomize.toolkit.fluxcd.io/name", "Flux"},
		{"helm.toolkit.fluxcd.io/name", "Flux"},
	}
	managers = map[string]string{"argocd-controller": "Argo CD", "kustomize-controller": "Flux", "helm-controller": "Flux"}
)

// GitOps says which tool keeps an object as it is in Git, and by what that shows; tool is "" for none.
func GitOps(o metav1.Object) (tool, mark string) {
	for _, m := range marks {
		if v, ok := o.GetAnnotations()[m.key]; ok {
			return m.tool, fmt.Sprintf("annotation %s: %s", m.key, v)
		}
		if v, ok := o.GetLabels()[m.key]; ok {
			return m.tool, fmt.Sprintf("label %s: %s", m.key, v)
		}
	}
	for _, f := range o.GetManagedFields() {
		if managed := managers[f.Manager]; managed != "" && strings.Contains(fields(f), `"f:spec"`) {
			return managed, fmt.Sprintf("field manager %s", f.Manager)
		}
	}
	return "", ""
}

func fields(f metav1.ManagedFieldsEntry) string {
	if f.FieldsV1 == nil {
		return ""
	}
	return f.FieldsV1.GetRawString()
}
