package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// renewalOf reads a NodeCredential.
func (w *fixture) renewalOf(name string) *v1alpha1.NodeCredential {
	w.t.Helper()
	var c v1alpha1.NodeCredential
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &c); err != nil {
		w.t.Fatal(err)
	}
	return &c
}

// TestRenew sets the trigger, as a field manager of its own, and nothing else.
func TestRenew(t *testing.T) {
	t.Parallel()
	w, admin := steady(t), adminKubeconfig(t, cfg.Host)
	w.create(given.Kubelet("node1"))
	before := w.renewalOf("node1")
	if out, err := w.as(admin, "renew", "nodecred/node1", "--dry-run", "--trigger", "x"); err != nil || !strings.Contains(out, `trigger: "x"`) {
		t.Errorf("%v\n%s", err, out)
	}
	if w.renewalOf("node1").ResourceVersion != before.ResourceVersion {
		t.Error("--dry-run has written something")
	}
	if out, err := w.as(admin, "renew", "nodecred/node1"); err != nil || !strings.Contains(out, "NodeCredential/node1: spec.renewal.trigger is now") {
		t.Fatal(err, out)
	}
	c := w.renewalOf("node1")
	if _, err := time.Parse(time.RFC3339, c.Spec.Renewal.Trigger); err != nil {
		t.Errorf("the default is no time: %v", err)
	}
	if !slices.ContainsFunc(c.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == renewManager }) {
		t.Errorf("nobody owns the trigger: %+v", c.ManagedFields)
	}
	if c.Generation != before.Generation+1 {
		t.Errorf("the generation is %d", c.Generation)
	}
	for args, want := range map[string]string{
		"renew nodecred/gone": `there is no NodeCredential "gone"`,
		"renew clusterca/k8s": "a ClusterCA is rotated: clusterpki rotate",
		"renew cpki/k8s":      "a ClusterPKI has no certificate of its own",
		"renew secret/x":      "a Secret has no certificate of its own",
		"renew nodecred/node1 --trigger " + c.Spec.Renewal.Trigger: "already",
	} {
		if _, err := w.as(admin, strings.Fields(args)...); ExitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func (w *fixture) renewalTriggerOf(name string) string { return w.renewalOf(name).Spec.Renewal.Trigger }

// TestRenewWhatIsInGit prints what belongs there, and writes nothing; --force writes it.
func TestRenewWhatIsInGit(t *testing.T) {
	t.Parallel()
	w, admin := steady(t), adminKubeconfig(t, cfg.Host)
	w.create(given.Kubelet("node1", func(c *v1alpha1.NodeCredential) {
		c.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "pki"}
	}))
	_, err := w.as(admin, "renew", "nodecred/node1", "--trigger", "x")
	if ExitCode(err) != 1 || !strings.Contains(err.Error(), "Flux keeps NodeCredential/node1") || !strings.Contains(err.Error(), `trigger: "x"`) {
		t.Errorf("%v", err)
	}
	if got := w.renewalTriggerOf("node1"); got != "" {
		t.Errorf("the trigger is %q", got)
	}
	if _, err := w.as(admin, "renew", "nodecred/node1", "--trigger", "x", "--force"); err != nil || w.renewalTriggerOf("node1") != "x" {
		t.Errorf("%v; the trigger is %q", err, w.renewalTriggerOf("node1"))
	}
}

// TestRenewWithOperator renews the certificate of an API server with the operator at work.
func TestRenewWithOperator(t *testing.T) {
	t.Parallel()
	w, admin := newFixture(t), adminKubeconfig(t, cfg.Host)
	w.operate(time.Second)
	w.create(given.CA("k8s"))
	w.create(given.Server("k8s-master"))
	testenv.Eventually(t, "all is well", func() error { _, err := w.run("status"); return err })
	serial := func() string {
		var c v1alpha1.APIServerCertificate
		if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "k8s-master"}, &c); err != nil {
			t.Fatal(err)
		}
		return c.Status.Certificate.SerialNumber
	}
	was := serial()
	if out, err := w.as(admin, "renew", "asc/k8s-master"); err != nil || !strings.Contains(out, "Certificate "+was+" is re-issued") {
		t.Fatal(err, out)
	}
	testenv.Eventually(t, "it is re-issued", func() error {
		if serial() == was {
			return errors.New("it is the old certificate")
		}
		return nil
	})
}
