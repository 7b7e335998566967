package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// nothingMade says whether nothing was made for a cluster, neither in its namespace nor in the authority's.
func (w *env) nothingMade() {
	w.t.Helper()
	w.settled()
	if made := w.children(); len(made) > 0 {
		w.t.Errorf("there are %v", made)
	}
}

// TestBootstrapNever: no first CA is made where that is forbidden; what the authority namespace keeps is taken up, and rotated.
func TestBootstrapNever(t *testing.T) {
	t.Parallel()
	never := func(c *v1alpha1.ClusterPKI) { c.Spec.Bootstrap = v1alpha1.BootstrapNever }
	w := newEnv(t)
	w.create(newCluster(1, never))
	c := w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonBootstrapNever)
	if !strings.Contains(c.Message, "ClusterCA/k8s-ca") || !strings.Contains(c.Message, "ServiceAccountKey/k8s-sa") {
		t.Errorf("%q", c.Message)
	}
	w.nothingMade()
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Bootstrap = v1alpha1.BootstrapCreate })
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	editCluster(w, never)
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	was := w.ledger("k8s-ca").Generations[0].SHA256

	w.delete(&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-ca"}})
	w.eventually("its object is made again", func() error {
		if w.children()["ClusterCA/k8s-ca"] == "" {
			return errors.New("it is not there")
		}
		return nil
	})
	w.ready("k8s-ca", &v1alpha1.ClusterCA{})
	if now := w.ledger("k8s-ca").Generations[0].SHA256; now != was {
		t.Errorf("it is another CA: %s", now)
	}
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Rotation.Trigger = "now" })
	w.condition("k8s-ca", &v1alpha1.ClusterCA{}, v1alpha1.RotatingCondition, metav1.ConditionTrue, "")
}

// TestAPIServerAnswers: where an API server answers at the endpoint already, no first CA is made.
func TestAPIServerAnswers(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	at := func(url string) func(*v1alpha1.ClusterPKI) {
		return func(c *v1alpha1.ClusterPKI) { c.Spec.Endpoint = url }
	}
	w.create(newCluster(1, at(cfg.Host))) // that of this test, which says 401
	c := w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAPIServerAnswers)
	if !strings.Contains(c.Message, "an API server answers at "+cfg.Host) {
		t.Errorf("%q", c.Message)
	}
	w.nothingMade()
	editCluster(w, func(c *v1alpha1.ClusterPKI) { // the CA alone: a key of service accounts would be another one
		c.Spec.CertificateAuthorities.Cluster.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{
			SecretRef: v1alpha1.SecretReference{Name: "adopted"}, CertificateSHA256: strings.Repeat("0", 64),
		}}
	})
	w.eventually("what is left is named", func() error {
		c := meta.FindStatusCondition(w.cluster().Status.Conditions, v1alpha1.StalledCondition)
		if c == nil || c.Reason != v1alpha1.ReasonAPIServerAnswers || strings.Contains(c.Message, "ClusterCA/k8s-ca,") || !strings.Contains(c.Message, "ServiceAccountKey/k8s-sa") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	w.nothingMade()
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.CertificateAuthorities.Cluster.Source = nil })
	editCluster(w, at("https://k8s-master:6443"))
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	editCluster(w, at(cfg.Host)) // it is the cluster's own by now, as far as anybody can tell
	w.restartAt(w.clock.Now().Add(time.Minute))
	w.ready("k8s", &v1alpha1.ClusterPKI{})
}
