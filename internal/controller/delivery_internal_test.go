package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestDeliveryOf: `kubectl get nodecred` says in one word whether what is issued is in use, or why that is not known.
func TestDeliveryOf(t *testing.T) {
	said := func(reason string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.TrustAcknowledgedCondition, Reason: reason}}
	}
	for name, c := range map[string]struct {
		mode         v1alpha1.DeliveryMode
		serial       string
		acknowledged string
		agent        []metav1.Condition
		want         string
	}{
		"nothing is issued":             {v1alpha1.DeliveryAgent, "", "", said(v1alpha1.ReasonNotInstalled), ""},
		"it is mounted":                 {v1alpha1.DeliveryMounted, "0A", "", nil, "Assumed"},
		"a person has acknowledged it":  {v1alpha1.DeliveryManual, "0A", "0A", nil, "InUse"},
		"a person has another one":      {v1alpha1.DeliveryManual, "0A", "0B", nil, "NotAcknowledged"},
		"nobody has acknowledged it":    {v1alpha1.DeliveryManual, "0A", "", nil, "NotAcknowledged"},
		"the agent has seen it in use":  {v1alpha1.DeliveryAgent, "0A", "", said(v1alpha1.ReasonInUse), "InUse"},
		"the agent is away":             {v1alpha1.DeliveryAgent, "0A", "", said(v1alpha1.ReasonLeaseExpired), "LeaseExpired"},
		"there is no Lease for it yet":  {v1alpha1.DeliveryAgent, "0A", "", nil, "NotInstalled"},
		"the agent has yet to write it": {v1alpha1.DeliveryAgent, "0A", "", said(v1alpha1.ReasonNotInstalled), "NotInstalled"},
	} {
		o := &v1alpha1.NodeCredential{}
		o.Spec.Delivery.Mode, o.Status.Certificate.SerialNumber = c.mode, c.serial
		if c.acknowledged != "" {
			o.Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{SerialNumber: c.acknowledged}
		}
		if got := deliveryOf(o, c.agent); got != c.want {
			t.Errorf("%s: %q, and not %q", name, got, c.want)
		}
	}
}
