package controller_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// subordinate is a CA whose parent is another one.
func subordinate(name, parent string) *v1alpha1.ClusterCA {
	return newCA(name, func(c *v1alpha1.ClusterCA) {
		c.Spec.Validity.Duration /= 2
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: parent}}}
	})
}

// TestFrontProxyByKey: kubernetes.io, "Configure the aggregation layer", warns to use no CA for both. What counts is whose certificates
// verify, so the key of a root, and not what the CAs are called.
func TestFrontProxyByKey(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("root"), newCA("own"))
	w.ready("root", &v1alpha1.ClusterCA{})
	w.create(subordinate("clients", "root"), subordinate("proxy", "root"))
	w.ready("clients", &v1alpha1.ClusterCA{})
	w.ready("proxy", &v1alpha1.ClusterCA{})
	w.create(newServer("k8s-master", func(s *v1alpha1.APIServerCertificate) {
		s.Spec.CARef.Name, s.Spec.RequestHeaderCARef = "clients", &v1alpha1.CAReference{Name: "proxy"}
	}))
	for _, names := range [][2]string{{"clients", "proxy"}, {"root", "proxy"}, {"clients", "root"}} {
		edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) {
			s.Spec.ClientCARefs, s.Spec.RequestHeaderCARef = []v1alpha1.CAReference{{Name: "own"}, {Name: names[0]}}, &v1alpha1.CAReference{Name: names[1]}
		})
		message := w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonClientCAShared).Message
		for _, want := range []string{`ClusterCA "` + names[0] + `"`, `ClusterCA "` + names[1] + `"`, `"CN=root"`, "a root of its own"} {
			if !strings.Contains(message, want) {
				t.Errorf("%v: the message %q lacks %q", names, message, want)
			}
		}
	}
	if s := w.secret("k8s-master-tls"); len(s.Data["requestheader-ca.crt"]) > 0 || len(s.Data["client-ca.crt"]) == 0 {
		t.Errorf("the Secret has a front proxy's bundle of %d bytes, and a clients' of %d", len(s.Data["requestheader-ca.crt"]), len(s.Data["client-ca.crt"]))
	}
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) {
		s.Spec.ClientCARefs, s.Spec.RequestHeaderCARef.Name = nil, "own"
	})
	w.eventually("the bundle of a CA of its own is published", func() error {
		return differs(w.secret("k8s-master-tls").Data["requestheader-ca.crt"], pki.EncodeCertificates(w.root("own")))
	})
}
