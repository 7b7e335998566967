package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestRotateChangesNothing prints a change that the API server takes, and makes none.
func TestRotateChangesNothing(t *testing.T) {
	w := steady(t)
	before := w.ca().ResourceVersion
	c := w.begin("rotate", "k8s", "--trigger", "2026-11")
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`trigger: "2026-11"`, "DistributingTrust", `{"spec":{"rotation":{"trigger":"2026-11"}}}`} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, c.out.String())
		}
	}
	if after := w.ca().ResourceVersion; after != before {
		t.Error("the ClusterCA was changed")
	}
}

func TestRotateApply(t *testing.T) {
	w := steady(t)
	if out, err := w.run("rotate", "k8s", "--apply", "--trigger", "2026-11"); err != nil {
		t.Fatal(err, out)
	}
	ca := w.ca()
	if ca.Spec.Rotation.Trigger != "2026-11" || ca.Spec.Rotation.EmergencyTrigger != "" {
		t.Errorf("spec.rotation is %+v", ca.Spec.Rotation)
	}
	owned := slices.ContainsFunc(ca.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == "clusterpki-rotate" && strings.Contains(f.FieldsV1.GetRawString(), "f:trigger")
	})
	if !owned {
		t.Errorf("nobody owns the trigger: %+v", ca.ManagedFields)
	}
	for _, args := range [][]string{{"--apply"}, nil} {
		out, err := w.run(append([]string{"rotate", "clusterca/k8s", "--trigger", "2026-11"}, args...)...)
		if ExitCode(err) != 1 || !strings.Contains(err.Error(), "already") || out != "" {
			t.Errorf("the same trigger again, %q: %v\n%s", args, err, out)
		}
	}
	c := w.begin("rotate", "k8s", "--trigger", "2026-11", "--watch") // it was set in Git
	c.prints("waiting for the operator")
	if strings.Contains(c.out.String(), "To rotate it") {
		t.Error(c.out.String())
	}
	c.stop()
	_ = c.end()
	if _, err := w.run("rotate", "k8s", "--apply"); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, w.ca().Spec.Rotation.Trigger); err != nil {
		t.Errorf("the default is no time: %v", err)
	}
}

// TestRotateApplyRefuses leaves an object alone whose trigger would be reverted, or that is no longer what was read.
func TestRotateApplyRefuses(t *testing.T) {
	annotated := func(key, value string) func(*v1alpha1.ClusterCA) {
		return func(ca *v1alpha1.ClusterCA) { ca.Annotations = map[string]string{key: value} }
	}
	labelled := func(key, value string) func(*v1alpha1.ClusterCA) {
		return func(ca *v1alpha1.ClusterCA) { ca.Labels = map[string]string{key: value} }
	}
	for name, c := range map[string]struct {
		mod  func(*v1alpha1.ClusterCA)
		want string
	}{
		"Argo CD's annotation": {annotated("argocd.argoproj.io/tracking-id", "pki:clusterpki.io/ClusterCA:prod/k8s"), "Argo CD"},
		"Argo CD's label":      {labelled("argocd.argoproj.io/instance", "pki"), "Argo CD"},
		"a Flux Kustomization": {labelled("kustomize.toolkit.fluxcd.io/name", "pki"), "Flux"},
		"a Flux HelmRelease":   {labelled("helm.toolkit.fluxcd.io/name", "pki"), "Flux"},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, c.mod)
			_, err := w.run("rotate", "k8s", "--apply", "--trigger", "x")
			if ExitCode(err) != 1 || !strings.Contains(err.Error(), c.want) || w.ca().Spec.Rotation.Trigger != "" {
				t.Errorf("%v; the trigger is %q", err, w.ca().Spec.Rotation.Trigger)
			}
			if _, err := w.run("rotate", "k8s", "--apply", "--trigger", "x", "--force"); err != nil || w.ca().Spec.Rotation.Trigger != "x" {
				t.Errorf("with --force: %v; the trigger is %q", err, w.ca().Spec.Rotation.Trigger)
			}
		})
	}
	t.Run("what Argo CD wrote without marking it", func(t *testing.T) {
		w := steady(t)
		ca := w.ca()
		ca.Spec.Validity = metav1.Duration{Duration: 5000 * time.Hour}
		if err := w.api.Update(t.Context(), ca, client.FieldOwner("argocd-controller")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.run("rotate", "k8s", "--apply"); err == nil || !strings.Contains(err.Error(), "Argo CD") {
			t.Error(err)
		}
	})
	t.Run("a rotation is under way", func(t *testing.T) {
		w := steady(t)
		w.phase("DistributingTrust", 0, 2)
		if _, err := w.run("rotate", "k8s", "--apply"); err == nil || !strings.Contains(err.Error(), "under way") {
			t.Error(err)
		}
	})
	t.Run("it changed in the meantime", func(t *testing.T) {
		w := steady(t)
		read := w.ca()
		w.phase("", 0, 0)
		read.ResourceVersion = "1"
		if err := apply(t.Context(), w.api, read, "x", false); err == nil || !strings.Contains(err.Error(), "try again") {
			t.Error(err)
		}
		if w.ca().Spec.Rotation.Trigger != "" {
			t.Error("it was changed all the same")
		}
	})
}

// TestRotateWatch follows a rotation through its phases, and does not take for its end what looks like it.
func TestRotateWatch(t *testing.T) {
	t.Parallel()
	w := steady(t)
	c := w.begin("rotate", "k8s", "--apply", "--trigger", "r2", "--watch")
	c.prints("waiting for the operator") // the CA is Ready, and nothing is under way
	w.phase("DistributingTrust", 0, 2, "a", "b")
	c.prints("DistributingTrust, generation 1 → 2 (TriggerChanged), 0/2 acknowledged, waits for NodeCredential/a (NotInUse), NodeCredential/b (NotInUse)")
	w.phase("DistributingTrust", 1, 2, "b")
	c.prints("1/2 acknowledged, waits for NodeCredential/b (NotInUse)")
	w.reports(func(ca *v1alpha1.ClusterCA) {
		meta.SetStatusCondition(&ca.Status.Conditions, metav1.Condition{
			Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Reason: "DistributingTrust", Message: "it waits for NodeCredential/b",
		})
	})
	c.prints("RotationBlocked: it waits for NodeCredential/b")

	if w.proxy.cut() == 0 {
		t.Error("there was no connection")
	}
	w.phase("WithdrawingTrust", 0, 2)
	c.prints("WithdrawingTrust, generation 1 → 2")
	w.completes()
	if err := c.end(); err != nil {
		t.Error(err)
	}
	c.prints("completed: generation 2 signs and is trusted alone")
}

// TestRotateWatchEnds has the ends other than completion.
func TestRotateWatchEnds(t *testing.T) {
	t.Parallel()
	t.Run("Ctrl-C", func(t *testing.T) {
		w := steady(t)
		c := w.begin("rotate", "k8s", "--watch")
		c.prints("no rotation is under way")
		c.stop()
		if err := c.end(); ExitCode(err) != 130 || !strings.Contains(err.Error(), "goes on") {
			t.Errorf("%d: %v", ExitCode(err), err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		w := steady(t)
		if _, err := w.run("rotate", "k8s", "--watch", "--timeout", "1ms"); ExitCode(err) != 3 {
			t.Errorf("%d: %v", ExitCode(err), err)
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		w := steady(t)
		c := w.begin("rotate", "k8s", "--apply", "--trigger", "r2", "--watch")
		c.prints("waiting for the operator")
		ca := w.ca()
		ca.Spec.Rotation.Trigger = ""
		if err := w.api.Update(t.Context(), ca); err != nil {
			t.Fatal(err)
		}
		c.prints(`spec.rotation.trigger is no longer "r2"`)
		w.phase("", 0, 0)
		if err := c.end(); ExitCode(err) != 2 || !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("%d: %v", ExitCode(err), err)
		}
	})
	t.Run("stalled", func(t *testing.T) {
		w := steady(t)
		c := w.begin("rotate", "k8s", "--apply", "--trigger", "r2", "--watch")
		c.prints("waiting for the operator")
		w.reports(func(ca *v1alpha1.ClusterCA) {
			meta.SetStatusCondition(&ca.Status.Conditions, metav1.Condition{
				Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: "SecretConflict", Message: "Secret k8s-g2 is not the operator's",
			})
		})
		if err := c.end(); ExitCode(err) != 2 {
			t.Errorf("%d: %v", ExitCode(err), err)
		}
		c.prints("Stalled: Secret k8s-g2 is not the operator's")
	})
	t.Run("deleted", func(t *testing.T) {
		w := steady(t)
		c := w.begin("rotate", "k8s", "--watch")
		c.prints("no rotation is under way")
		if err := w.api.Delete(t.Context(), w.ca()); err != nil {
			t.Fatal(err)
		}
		if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("%d: %v", ExitCode(err), err)
		}
	})
}

// TestRotateWithOperator rotates a CA with the operator at work.
func TestRotateWithOperator(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.operate(time.Second)
	w.create(given.CA("k8s"))
	w.create(given.Server("k8s-master", func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery = given.Soon(v1alpha1.DeliveryMounted) }))
	w.create(given.Kubelet("node1-kubelet", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery = given.Soon(v1alpha1.DeliveryMounted) }))
	testenv.Eventually(t, "all is well", func() error { _, err := w.run("status"); return err })

	c := w.begin("rotate", "k8s", "--apply", "--watch")
	if err := c.end(); err != nil {
		t.Fatal(err, c.out.String())
	}
	for _, want := range []string{"DistributingTrust, ", "Reissuing, ", "WithdrawingTrust, ", "completed: generation 2 signs"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, c.out.String())
		}
	}
	s := w.begin("status", "k8s", "-o", "json")
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	var r status.Report
	if err := json.Unmarshal([]byte(s.out.String()), &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.ClusterCAs[0].Certificates {
		if c.IssuerGeneration != 2 || c.OldGeneration || c.State.State != "Ready" {
			t.Errorf("%+v", c)
		}
	}
	if len(r.ClusterCAs[0].Certificates) != 2 {
		t.Errorf("%+v", r)
	}
}
