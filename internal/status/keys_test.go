package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// accountKey is a ServiceAccountKey with one key, which two API servers use.
func accountKey(name string, mods ...func(*v1alpha1.ServiceAccountKey)) v1alpha1.ServiceAccountKey {
	k := v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}}
	k.Status = v1alpha1.ServiceAccountKeyStatus{
		Conditions: []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, "key 1 signs")},
		SecretName: name, PublicKeysSHA256: strings.Repeat("ab", 32),
		Keys:         []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationActive, KeyID: strings.Repeat("k", 43)}},
		Acknowledged: new(int32(2)), Required: new(int32(2)),
	}
	for _, m := range mods {
		m(&k)
	}
	return k
}

// distributing is in the first phase of a rotation, whose order one host holds up.
func distributing(k *v1alpha1.ServiceAccountKey) {
	k.Status.Keys = append(k.Status.Keys, v1alpha1.KeyStatus{Number: 2, State: v1alpha1.GenerationTrusted, KeyID: strings.Repeat("l", 43)})
	k.Status.Rotation = v1alpha1.KeyRotationStatus{
		ID: "k8s-sa/2026-11.g2", Phase: v1alpha1.KeyDistributingTrust, Reason: v1alpha1.RotationTriggerChanged, From: 1, To: 2, StartTime: after(-25 * time.Minute),
	}
	k.Status.Acknowledged, k.Status.Required = new(int32(1)), new(int32(3))
	k.Status.Pending = []v1alpha1.PendingConsumer{
		{Kind: "APIServerCertificate", Name: "m2", Host: "k8s-m2", Reason: v1alpha1.ReasonLeaseExpired, Edit: "start its agent"},
		{Kind: "APIServerCertificate", Name: "m3", Host: "k8s-m3", Reason: v1alpha1.ReasonAwaitingTurn},
	}
}

// keptByTokens has an earlier key that tokens keep.
func keptByTokens(k *v1alpha1.ServiceAccountKey) {
	k.Status.Keys = []v1alpha1.KeyStatus{
		{Number: 1, State: v1alpha1.GenerationRetiring, KeyID: strings.Repeat("k", 43), RetainUntil: after(20 * day)},
		{Number: 2, State: v1alpha1.GenerationActive, KeyID: strings.Repeat("l", 43)},
	}
	k.Status.TokenSecrets, k.Status.TokenSecretCount = []string{"monitoring/prometheus-token"}, new(int32(3))
	k.Status.Conditions = append(k.Status.Conditions,
		condition(v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonTokensLeft, "key 1 goes on 2026-12-13 unless tokens need it"))
}

func named(key string) func(*v1alpha1.APIServerCertificate) {
	return func(c *v1alpha1.APIServerCertificate) { c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: key} }
}

func TestKeys(t *testing.T) {
	objects := status.Objects{
		CAs: []v1alpha1.ClusterCA{ca("k8s"), ca("other")}, Keys: []v1alpha1.ServiceAccountKey{accountKey("k8s-sa", distributing), accountKey("kept", keptByTokens)},
		Servers: []v1alpha1.APIServerCertificate{server("m1", "k8s", named("k8s-sa")), server("m2", "k8s", named("k8s-sa")), server("o", "other", named("kept"))},
	}
	const rotating = `
ServiceAccountKey/k8s-sa    Ready     key 1 signs
│  DistributingTrust, key 1 → 2 (TriggerChanged): 1/3 acknowledged, begun 25m ago
│  waits for APIServerCertificate/m2 on k8s-m2 (LeaseExpired), APIServerCertificate/m3 on k8s-m3 (AwaitingTurn)
│  APIServerCertificate/m2: start its agent
├─ key 1                    Active    kid kkkkkkkkkkkkkkkk…
├─ key 2                    Trusted   kid llllllllllllllll…
└─ used by APIServerCertificate/m1, APIServerCertificate/m2
`
	const kept = `
ServiceAccountKey/kept      Ready     key 2 signs
├─ key 1                    Retiring  kid kkkkkkkkkkkkkkkk…  2026-12-13  20d
├─ key 2                    Active    kid llllllllllllllll…
├─ used by APIServerCertificate/o
└─ tokens that never end: Secrets monitoring/prometheus-token, and 2 more

0 errors, 1 warning:
  warning  ServiceAccountKey/kept KeyRemovalDue: key 1 goes on 2026-12-13 unless tokens need it
`
	all := status.Build(now, objects, "").Text(status.Style{})
	if !strings.HasSuffix(all, rotating+kept) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(rotating+kept, all))
	}
	one := status.Build(now, objects, "k8s")
	if len(one.ServiceAccountKeys) != 1 || one.ServiceAccountKeys[0].Name != "k8s-sa" || len(one.Problems) != 0 {
		t.Errorf("of one CA there is %+v, and its problems are %v", one.ServiceAccountKeys, one.Problems)
	}
	alone := status.Build(now, status.Objects{Keys: []v1alpha1.ServiceAccountKey{accountKey("k8s-sa")}}, "")
	if text := alone.Text(status.Style{}); !strings.Contains(text, "ServiceAccountKey/k8s-sa  Ready  key 1 signs") {
		t.Errorf("without a CA:\n%s", text)
	}
}

// TestPublicationLines says nothing where every API server uses what is published, and whom a key that has left waits for.
func TestPublicationLines(t *testing.T) {
	lines := func(mods ...func(*v1alpha1.ServiceAccountKey)) []string {
		r := status.Build(now, status.Objects{Keys: []v1alpha1.ServiceAccountKey{accountKey("k8s-sa", mods...)}}, "")
		return status.PublicationLines(now, r.ServiceAccountKeys[0].Publication)
	}
	if got := lines(); got != nil {
		t.Errorf("all have acknowledged: %q", got)
	}
	left := lines(distributing, func(k *v1alpha1.ServiceAccountKey) { k.Status.Rotation = v1alpha1.KeyRotationStatus{} })
	if len(left) != 3 || left[0] != "what is published is not in use everywhere: 1/3 acknowledged" {
		t.Errorf("a key has left: %q", left)
	}
	fresh := lines(func(k *v1alpha1.ServiceAccountKey) { k.Status.Acknowledged, k.Status.Required = nil, nil })
	if fresh != nil {
		t.Errorf("nothing is counted yet: %q", fresh)
	}
}
