package ca

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/stall"
)

// circle names the parents of a CA, as the specs have them, where they come back to one of them: none of those can ever be
// signed, or each would sign the other anew without an end. "" where they end.
func (m *Maker) circle(ctx context.Context, ca *v1alpha1.ClusterCA) (string, error) {
	names, again, err := policy.Parents(ca.Name, func(name string) (string, error) {
		if name == ca.Name {
			return ca.ParentName(), nil
		}
		var parent v1alpha1.ClusterCA
		if err := m.Client.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: name}, &parent); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("read ClusterCA %q: %w", name, err)
		}
		return parent.ParentName(), nil
	})
	if err != nil || again == "" {
		return "", err
	}
	return path(append(names[slices.Index(names, again):], again)), nil
}

// inCircle is what to do about a circle.
func inCircle(names string) error {
	return stall.Because(v1alpha1.ReasonParentNotReady, "the parents of this CA go round in a circle, so that none of these can be signed: %s. "+
		"Change spec.source.parent.caRef of one of them", names)
}

// maxPath is how many names of a circle are said.
const maxPath = 16

// path names CAs, each signed by the next.
func path(names []string) string {
	if len(names) > maxPath {
		names = append(append(slices.Clone(names[:maxPath-2]), "…"), names[len(names)-2:]...)
	}
	return strings.Join(names, " → ")
}
