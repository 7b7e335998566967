package restore_test

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// TestNamespaceMadeAnew deletes a namespace, which somebody else makes again, with a ClusterCA of the old name. He does not get the
// CA until whoever administers the PKI gives it to him.
func TestNamespaceMadeAnew(t *testing.T) {
	t.Parallel()
	w := newFixture(t, "made-anew")
	w.operate(nil)
	w.create(newCA("k8s"))
	w.ready()
	w.settled()
	before, bundle := w.authoritySecret("k8s"), w.contents()["ConfigMap k8s-trust ca.crt"]
	w.deleteNamespaces(w.ns)
	w.createNamespaces()
	w.create(newCA("k8s"), newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted))
	w.stalled("k8s", v1alpha1.ReasonAuthorityRetained)
	w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
	w.settled()
	if !w.missing("k8s-trust", &corev1.ConfigMap{}) || !w.missing("mounted-tls", &corev1.Secret{}) {
		t.Error("something was made from a CA that is another's")
	}
	if now := w.authoritySecret("k8s"); now.ResourceVersion != before.ResourceVersion {
		t.Error("the CA was written")
	}
	w.release()
	w.ready()
	if w.contents()["ConfigMap k8s-trust ca.crt"] != bundle {
		t.Error("it is another CA")
	}
}

// TestSecondInstallation lets a second operator, with an authority namespace of its own, serve what the first one has made.
func TestSecondInstallation(t *testing.T) {
	t.Parallel()
	first := newFixture(t, "two-installations")
	stop := first.operate(nil)
	first.create(newCA("k8s"), newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted))
	first.ready()
	first.settled()
	want := first.contents()
	stop()

	second := newFixtureOn(t, management, first.ns, "the-second-authority")
	stop = second.operate(nil)
	second.stalled("k8s", v1alpha1.ReasonAuthorityMissing)
	second.settled()
	if got := second.keys(); len(got) > 0 {
		t.Errorf("it made %v", changed(got, nil))
	}
	first.same(want)
	stop()

	first.operate(nil)
	first.settled()
	first.ready()
	first.same(want)
}

// TestCRDsDeleted deletes the CustomResourceDefinitions, and every object with them, and applies both again. deletionPolicy
// 'Delete' does not count: nobody deleted the CA. This test runs alone, because all others need the definitions.
func TestCRDsDeleted(t *testing.T) {
	w := newFixture(t, "crds-deleted")
	stop := w.operate(nil)
	objects := func() []client.Object {
		return []client.Object{
			newCA("k8s", func(ca *v1alpha1.ClusterCA) { ca.Spec.DeletionPolicy = v1alpha1.DeletionDelete }),
			newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted),
		}
	}
	w.create(objects()...)
	w.ready()
	w.settled()
	before, keys := w.contents(), w.keys()
	t.Cleanup(w.installCRDs) // other tests need them too
	w.deleteCRDs()
	testenv.Eventually(w.t, "what goes with its object is gone", func() error {
		if !w.missing("mounted-tls", &corev1.Secret{}) || !w.missing("k8s-trust", &corev1.ConfigMap{}) {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	stop()
	if r := w.record("k8s"); r == nil || !r.Deleted.IsZero() || !maps.Equal(w.keys(), keys) {
		t.Fatalf("the CA is marked as deleted, or its keys are others: %+v", r)
	}

	w.installCRDs()
	for _, o := range objects() {
		testenv.Eventually(w.t, "the API server knows the kind again", func() error {
			o.SetNamespace(w.ns)
			return w.api.Create(t.Context(), o)
		})
	}
	w.operate(nil)
	w.settled()
	w.ready()
	after := w.contents()
	for _, name := range []string{"ConfigMap k8s-trust ca.crt", "Secret k8s-sa sa.key", "Secret ca.k8s g1.key", "Secret mounted-tls ca.crt"} {
		if before[name] == "" || after[name] != before[name] {
			t.Errorf("%s is another", name)
		}
	}
}

// crds says where clusterpki's CustomResourceDefinitions are.
func crds() envtest.CRDInstallOptions {
	return envtest.CRDInstallOptions{Paths: []string{filepath.Join(testenv.Root(), "config", "crd", "bases")}}
}

func (w *fixture) installCRDs() {
	w.t.Helper()
	if _, err := envtest.InstallCRDs(w.Config, crds()); err != nil {
		w.t.Fatal(err)
	}
}

// deleteCRDs deletes clusterpki's CustomResourceDefinitions, and waits until they are gone.
func (w *fixture) deleteCRDs() {
	w.t.Helper()
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		w.t.Fatal(err)
	}
	api, err := client.New(w.Config, client.Options{Scheme: scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := envtest.UninstallCRDs(w.Config, crds()); err != nil {
		w.t.Fatal(err)
	}
	testenv.Eventually(w.t, "the definitions are gone", func() error {
		var list apiextensionsv1.CustomResourceDefinitionList
		if err := api.List(w.t.Context(), &list); err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d are still there: %w", len(list.Items), err)
		}
		return nil
	})
}

// TestForgedClaim restores a Secret that a user made to look like the operator's: it does not get the seal.
func TestForgedClaim(t *testing.T) {
	t.Parallel()
	w := newFixture(t, "forged-claim")
	stop := w.operate(nil)
	w.create(newCA("k8s"))
	w.ready()
	stop()
	forged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "mounted-tls", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue},
		Annotations: map[string]string{v1alpha1.ClaimAnnotation: `00 {"uid":"gone"}`},
	}}
	authority := w.authoritySecret("k8s").DeepCopy() // of a user's making, in his own namespace
	authority.ObjectMeta = metav1.ObjectMeta{Name: authority.Name, Labels: forged.Labels}
	w.create(forged, authority)
	text := w.backup()
	if n := bytes.Count(text, []byte("type: clusterpki.io/authority")); n != 1 {
		t.Errorf("the backup holds %d Secrets of CAs, and should hold one", n)
	}
	w.lose()
	result, err := w.restoreArchive(text)
	if err != nil || len(result.Foreign) != 1 {
		t.Errorf("%+v: %v", result, err)
	}
	w.operate(nil)
	w.create(newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted))
	w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
}
