package inspect

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// TestRotationText shows the keys of a ClusterCA, and how far its rotation is.
func TestRotationText(t *testing.T) {
	ca := v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
	ca.Status.Trust = v1alpha1.TrustStatus{BundleRevision: 3, BundleSHA256: strings.Repeat("ab", 32)}
	ca.Status.Generations = []v1alpha1.GenerationStatus{
		{Number: 1, State: v1alpha1.GenerationActive, SHA256Fingerprint: strings.Repeat("0a", 32), NotAfter: metav1.NewTime(now.Add(100 * day))},
		{Number: 2, State: v1alpha1.GenerationTrusted, NotAfter: metav1.NewTime(now.Add(200 * day))},
	}
	began := metav1.NewTime(now.Add(-5 * time.Minute))
	ca.Status.Rotation = v1alpha1.RotationStatus{
		Phase: v1alpha1.PhaseDistributingTrust, Reason: v1alpha1.RotationRenewalDue, From: 1, To: 2, StartTime: began,
		Phases:       []v1alpha1.PhaseStatus{{Name: v1alpha1.PhaseDistributingTrust, State: v1alpha1.PhaseActive, StartTime: began}},
		Acknowledged: new(int32(0)), Required: new(int32(1)), PendingCount: new(int32(1)),
		Pending: []v1alpha1.PendingConsumer{{Kind: "NodeCredential", Name: "node1", Reason: "NotAcknowledged", Edit: "set spec.delivery.acknowledged"}},
	}
	seen := Inputs{Objects: status.Objects{CAs: []v1alpha1.ClusterCA{ca}}, Kind: status.KindClusterCA, Name: "k8s"}
	const want = `  trust        revision 3 abababababababababababababababababababababababababababababababab
  generation 1 Active, until 2027-03-03 12:00:00Z (in 100d), fingerprint 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
  generation 2 Trusted, until 2027-06-11 12:00:00Z (in 200d)
  rotation     DistributingTrust, generation 1 → 2 (RenewalDue): 0/1 acknowledged, for 5m, begun 5m ago
               its end is not known: NodeCredential/node1 waits for a person
               waits for NodeCredential/node1 (NotAcknowledged)
               NodeCredential/node1: set spec.delivery.acknowledged
`
	if got := Build(now, seen).Text(status.Style{}); !strings.Contains(got, want) {
		t.Errorf("there is no\n%s\nin\n%s", want, got)
	}
	seen.Objects.CAs[0].Status.Rotation = v1alpha1.RotationStatus{}
	seen.Objects.CAs[0].Status.LastRotation = v1alpha1.LastRotationStatus{From: 1, To: 2, Result: v1alpha1.RotationRolledBack, EndTime: began}
	if got := Build(now, seen).Text(status.Style{}); !strings.Contains(got, "the last rotation, to generation 2, was rolled back 5m ago") {
		t.Error(got)
	}
}
