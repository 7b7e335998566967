package cluster

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// IsReady says whether an object is Ready, as its spec is now.
func IsReady(o v1alpha1.Object) bool {
	return o != nil && *o.ObservedGeneration() == o.GetGeneration() && meta.IsStatusConditionTrue(*o.StatusConditions(), v1alpha1.ReadyCondition)
}

// Lags says why an object's host does not use what is issued for it, and since when; "" where it does.
func Lags(o v1alpha1.Object) (reason string, since metav1.Time) {
	if o == nil {
		return v1alpha1.ReasonChildrenPending, metav1.Time{}
	}
	for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.TrustAcknowledgedCondition} {
		if c := meta.FindStatusCondition(*o.StatusConditions(), kind); c != nil && c.Status != metav1.ConditionTrue {
			return c.Reason, c.LastTransitionTime
		}
	}
	if c := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ServingCondition); c != nil && c.Status == metav1.ConditionFalse {
		return c.Reason, c.LastTransitionTime
	}
	if !IsReady(o) {
		return v1alpha1.ReasonChildrenPending, o.GetCreationTimestamp()
	}
	return "", metav1.Time{}
}
