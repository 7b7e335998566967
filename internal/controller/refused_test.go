package controller_test

import (
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// here selects the namespace of a test.
func (w *env) here() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.ns}}
}

// made creates a cluster-wide object, until the returned function is called, and at the latest until the test ends.
func (w *env) made(o client.Object) (gone func()) {
	w.t.Helper()
	if err := w.api.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
	gone = func() { _ = client.IgnoreNotFound(w.api.Delete(w.t.Context(), o)) }
	w.t.Cleanup(func() { _ = w.api.Delete(w.t.Context(), o) })
	return gone
}

// quota admits as many Secrets as there are. No controller fills in its status here.
func (w *env) quota() (gone func()) {
	w.t.Helper()
	const secrets = corev1.ResourceName("count/secrets")
	none := corev1.ResourceList{secrets: resource.MustParse("0")}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: w.ns}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
	gone = w.made(q)
	q.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	if err := w.api.Status().Update(w.t.Context(), q); err != nil {
		w.t.Fatal(err)
	}
	return gone
}

// policy refuses every Secret of the test's namespace, with a reason of its own.
func (w *env) policy(reason metav1.StatusReason) (gone func()) {
	w.t.Helper()
	name := w.ns + "-" + strings.ToLower(string(reason))
	rules := []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
	}}}
	policy := w.made(&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: rules, NamespaceSelector: w.here()},
		Validations:      []admissionv1.Validation{{Expression: "false", Message: "no Secrets on Fridays", Reason: &reason}},
	}})
	binding := w.made(&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}})
	w.eventually("the policy is in force", func() error {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "probe"}}
		if err := w.api.Create(w.t.Context(), s, client.DryRunAll); err == nil {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	return func() { binding(); policy() }
}

// webhook is asked about every Secret of the test's namespace, and never answers.
func (w *env) webhook() (gone func()) {
	w.t.Helper()
	url, fail, none := "https://127.0.0.1:1/", admissionv1.Fail, admissionv1.SideEffectClassNone
	return w.made(&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: w.ns}, Webhooks: []admissionv1.ValidatingWebhook{{
		Name: "down.example.org", ClientConfig: admissionv1.WebhookClientConfig{URL: &url}, FailurePolicy: &fail, SideEffects: &none,
		AdmissionReviewVersions: []string{"v1"}, NamespaceSelector: w.here(), Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
		}},
	}}})
}

// immutable makes a Secret immutable. It is made again once it is deleted.
func (w *env) immutable(name string) (gone func()) {
	w.t.Helper()
	s := w.secret(name)
	s.Immutable = new(true)
	if err := w.api.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return func() { _ = w.api.Delete(w.t.Context(), s) }
}

// TestRefusedWrites: what the API server refuses for good is Stalled, says what to do, and recovers by itself. What is there stays
// Ready, and says that the spec is not applied. What may go by itself is retried.
func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	longer := func(w *env) {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity.Duration = hours(4000).Duration })
	}
	another := func(w *env) {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "another" })
	}
	for name, tc := range map[string]struct {
		refuse func(*env) func()
		edit   func(*env)
		reason string // of Stalled; "": it is retried
		says   []string
	}{
		"a quota":                {(*env).quota, another, v1alpha1.ReasonWriteRefused, []string{"exceeded quota: none", "raise the ResourceQuota"}},
		"a policy, as invalid":   {func(w *env) func() { return w.policy(metav1.StatusReasonInvalid) }, longer, v1alpha1.ReasonWriteRefused, []string{"no Secrets on Fridays", "change the policy"}},
		"a policy, as forbidden": {func(w *env) func() { return w.policy(metav1.StatusReasonForbidden) }, longer, v1alpha1.ReasonWriteRefused, []string{"no Secrets on Fridays", "change the policy"}},
		"an immutable Secret":    {func(w *env) func() { return w.immutable("node1-tls") }, longer, v1alpha1.ReasonSecretConflict, []string{`Secret "node1-tls" cannot be changed: delete it`}},
		"a webhook that is down": {(*env).webhook, longer, "", []string{"failed calling webhook"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
			w.ready("node2", &v1alpha1.NodeCredential{})
			heal := tc.refuse(w)
			tc.edit(w)
			kind, reason := v1alpha1.StalledCondition, tc.reason
			if reason == "" {
				kind, reason = v1alpha1.ReconcilingCondition, v1alpha1.ReasonRetrying
			}
			var c v1alpha1.NodeCredential
			got := w.condition("node1", &c, kind, metav1.ConditionTrue, reason)
			for _, text := range tc.says {
				if !strings.Contains(got.Message, text) {
					t.Errorf("%q is not in %q", text, got.Message)
				}
			}
			w.get("node1", &c)
			ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReadyCondition)
			if applied := !strings.Contains(ready.Message, "the spec as it is now is not applied"); tc.edit != nil && name != "a quota" &&
				(ready.Status != metav1.ConditionTrue || applied != (tc.reason == "")) {
				t.Errorf("Ready is %+v", ready)
			}
			heal()
			w.restartAt(w.clock.Now())
			w.eventually("it recovers", func() error {
				w.get("node1", &c)
				if len(c.Status.Conditions) == 0 || meta.FindStatusCondition(c.Status.Conditions, kind) != nil || !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition) {
					return fmt.Errorf("%+v", c.Status.Conditions)
				}
				return nil
			})
		})
	}
}

// TestEveryKindIsRefused: also a CA that is refused its trust bundle, and an API server its first Secret.
func TestEveryKindIsRefused(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	heal := w.policy(metav1.StatusReasonInvalid)
	w.create(newServer("k8s-master"), newKubelet("node1"), newCA("copied", func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "pair" }))
	for name, o := range map[string]v1alpha1.Object{"k8s-master": &v1alpha1.APIServerCertificate{}, "node1": &v1alpha1.NodeCredential{}, "copied": &v1alpha1.ClusterCA{}} {
		w.condition(name, o, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonWriteRefused)
	}
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWriteRefused)
	heal()
	w.restartAt(w.clock.Now())
	for name, o := range map[string]v1alpha1.Object{"k8s-master": &v1alpha1.APIServerCertificate{}, "node1": &v1alpha1.NodeCredential{}, "copied": &v1alpha1.ClusterCA{}} {
		w.ready(name, o)
	}
}
