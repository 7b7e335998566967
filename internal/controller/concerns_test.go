package controller

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestConcerns changes one thing at a time in a trust ConfigMap, and says which of the leaves of the seeds 1 to 4 may
// act upon it.
func TestConcerns(t *testing.T) {
	trust := func(change func(*plan.Ledger, *corev1.ConfigMap)) *corev1.ConfigMap {
		l := plan.Ledger{Revision: 7, TrustRevision: 3, Wave: 2, Generations: []plan.Generation{
			{Number: 1, State: plan.Retiring, SecretName: "g1", SHA256: "01"}, {Number: 2, State: plan.Signing, SecretName: "g2", SHA256: "02"},
		}}
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{UID: "x", Annotations: map[string]string{v1alpha1.OwnerAnnotation: "ClusterCA/k8s"}},
			Data:       map[string]string{bundleKey: "bundle"},
		}
		change(&l, cm)
		if cm.Data[ledgerKey] == "" {
			text, err := l.Encode()
			if err != nil {
				t.Fatal(err)
			}
			cm.Data[ledgerKey] = text
		}
		return cm
	}
	all, none := []uint32{1, 2, 3, 4}, []uint32(nil)
	for name, tc := range map[string]struct {
		change func(*plan.Ledger, *corev1.ConfigMap)
		want   []uint32
	}{
		"nothing":      {func(*plan.Ledger, *corev1.ConfigMap) {}, none},
		"the revision": {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.Revision++ }, none},
		"a key is staged": {func(l *plan.Ledger, _ *corev1.ConfigMap) {
			l.Generations = append(l.Generations, plan.Generation{Number: 3, State: plan.Staged})
		}, none},
		"the next wave":         {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.Wave = 4 }, []uint32{2, 3}},
		"everyone":              {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.Wave = plan.Everyone }, []uint32{2, 3, 4}},
		"nothing retires":       {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.Generations = l.Generations[1:] }, []uint32{2, 3, 4}},
		"the bundle":            {func(_ *plan.Ledger, cm *corev1.ConfigMap) { cm.Data[bundleKey] = "another" }, all},
		"the bundle's revision": {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.TrustRevision++ }, all},
		"the revisions above":   {func(_ *plan.Ledger, cm *corev1.ConfigMap) { cm.Annotations[v1alpha1.HoldsAnnotation] = "{}" }, all},
		"the owner": {func(_ *plan.Ledger, cm *corev1.ConfigMap) {
			cm.Annotations[v1alpha1.OwnerAnnotation] = "ClusterCA/other"
		}, all},
		"the one that signs": {func(l *plan.Ledger, _ *corev1.ConfigMap) {
			l.Generations[0].State, l.Generations[1].State = plan.Signing, plan.Trusted
		}, all},
		"its certificate":         {func(l *plan.Ledger, _ *corev1.ConfigMap) { l.Generations[1].SHA256 = "03" }, all},
		"it is made anew":         {func(_ *plan.Ledger, cm *corev1.ConfigMap) { cm.UID = "y" }, all},
		"the ledger is damaged":   {func(_ *plan.Ledger, cm *corev1.ConfigMap) { cm.Data[ledgerKey] = "{" }, all},
		"the ledger is taken out": {func(_ *plan.Ledger, cm *corev1.ConfigMap) { cm.Data[ledgerKey] = " " }, all},
	} {
		was, now := trust(func(*plan.Ledger, *corev1.ConfigMap) {}), trust(tc.change)
		for direction, concerns := range map[string]func(uint32) bool{"to": concernsOnly(was, now), "back": concernsOnly(now, was)} {
			got := all
			if concerns != nil {
				got = slices.DeleteFunc(slices.Clone(all), func(seed uint32) bool { return !concerns(seed) })
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%s, %s: concerns %v instead of %v", name, direction, got, tc.want)
			}
		}
	}
}
