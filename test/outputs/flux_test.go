package outputs_test

import (
	"testing"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	fluxclient "github.com/fluxcd/pkg/runtime/client"
	"k8s.io/client-go/kubernetes/scheme"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestFluxConnects: what Flux's controllers make of spec.kubeConfig of a Kustomization connects as the administrator, at each moment of a rotation. They
// refuse a kubeconfig that names a file.
func TestFluxConnects(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Outputs = []v1alpha1.ClusterOutput{{Format: v1alpha1.OutputFlux, ClusterName: "apps"}}
	})
	if watched := e.secret("apps-flux").Labels["reconcile.fluxcd.io/watch"]; watched != "Enabled" {
		t.Errorf("Flux would not see at once that it changes: %q", watched)
	}
	connects := func() {
		t.Helper()
		ref := &fluxmeta.KubeConfigReference{SecretRef: &fluxmeta.SecretKeyReference{Name: "apps-flux"}}
		remote, _, err := fluxclient.NewImpersonator(e.api, fluxclient.WithScheme(scheme.Scheme),
			fluxclient.WithKubeConfig(ref, fluxclient.KubeConfigOptions{}, e.ns, nil)).GetClient(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if as, err := e.reviewed(remote); as != administrator {
			t.Errorf("the API server sees Flux as %q: %v", as, err)
		}
	}
	connects()
	e.rotate(connects)
	connects()
}
