package inspect

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// TestServiceAccountKey shows the keys of one, who uses it, and why an earlier key stays; and which one an API server uses.
func TestServiceAccountKey(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	k := v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-sa"}}
	k.Status = v1alpha1.ServiceAccountKeyStatus{
		SecretName: "k8s-sa", PublicKeysSHA256: strings.Repeat("ab", 32),
		Keys: []v1alpha1.KeyStatus{
			{Number: 1, State: v1alpha1.GenerationRetiring, KeyID: "first", RetainUntil: metav1.NewTime(now.Add(20 * 24 * time.Hour))},
			{Number: 2, State: v1alpha1.GenerationActive, KeyID: "second"},
		},
		Rotation: v1alpha1.KeyRotationStatus{Phase: v1alpha1.KeySwitchingSigner, From: 1, To: 2, StartTime: metav1.NewTime(now.Add(-time.Hour))},
		Pending: []v1alpha1.PendingConsumer{
			{Kind: "APIServerCertificate", Name: "k8s-master", Host: "k8s-master", Reason: v1alpha1.ReasonAgentProblem, Edit: "look at its agent"},
		},
		TokenSecrets: []string{"monitoring/prometheus-token"},
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued},
			{Type: v1alpha1.KeyRemovalDueCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonTokensLeft, Message: "tokens need key 1"},
		},
	}
	server := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-master"}}
	server.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "k8s-sa"}
	objects := status.Objects{Keys: []v1alpha1.ServiceAccountKey{k}, Servers: []v1alpha1.APIServerCertificate{server}}
	text := Build(now, Inputs{Objects: objects, Kind: status.KindServiceAccountKey, Name: "k8s-sa"}).Text(status.Style{})
	for _, want := range []string{
		"ServiceAccountKey/k8s-sa in prod  Ready", "in           Secret/k8s-sa",
		"key 1        Retiring, until 2026-12-18 (in 20d) unless tokens need it, kid first", "key 2        Active, kid second",
		"sa.pub       abab", "rotation     SwitchingSigner, key 1 → 2: begun 1h ago", "waits for APIServerCertificate/k8s-master on k8s-master (AgentProblem)",
		"APIServerCertificate/k8s-master: look at its agent", "used by      APIServerCertificate/k8s-master",
		"tokens that never end: Secrets monitoring/prometheus-token", "KeyRemovalDue is True: TokensLeft", "in the target cluster, delete the Secrets",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	text = Build(now, Inputs{Objects: objects, Kind: status.KindAPIServerCertificate, Name: "k8s-master"}).Text(status.Style{})
	if want := "signed and accepted with the keys of ServiceAccountKey/k8s-sa"; !strings.Contains(text, want) {
		t.Errorf("%q is missing in\n%s", want, text)
	}
}
