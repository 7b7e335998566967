package controller_test

import (
	"fmt"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestLocalEndpoint: the scheduler beside an API server is led to that one, by its kubeconfig and by what its agent is told, and others to the endpoint;
// they follow when it changes, and nothing is re-issued for that.
func TestLocalEndpoint(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	beside := func(role v1alpha1.Role) func(*v1alpha1.NodeCredential) {
		return func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.Role = "k8s-master", role }
	}
	w.create(newCA("k8s"), newServer("k8s-master", func(s *v1alpha1.APIServerCertificate) { s.Spec.LocalEndpoint = "https://10.1.10.238:6443" }),
		newKubelet("scheduler", byAgent, beside("Scheduler")), newKubelet("admin", byAgent, beside("Admin")), newKubelet("node1", byAgent))
	w.leads("scheduler", "https://10.1.10.238:6443")
	w.leads("admin", "https://k8s-master:6443")
	w.leads("node1", "https://k8s-master:6443")
	before := w.pair("scheduler-tls").Cert
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) { s.Spec.LocalEndpoint = "" })
	w.leads("scheduler", "https://k8s-master:6443")
	if !w.pair("scheduler-tls").Cert.Equal(before) {
		t.Error("the certificate was re-issued")
	}
}

// leads waits until the kubeconfig of a credential, in each form, and what its agent is told have a URL.
func (w *env) leads(credential, to string) {
	w.t.Helper()
	w.ready(credential, &v1alpha1.NodeCredential{})
	w.eventually(credential+" is led to "+to, func() error {
		for _, key := range []string{"value", "kubeconfig.files"} {
			config, err := clientcmd.Load(w.secret(credential + "-kubeconfig").Data[key])
			if err != nil {
				return err
			}
			if got := config.Clusters["k8s-cluster"].Server; got != to {
				return fmt.Errorf("%s leads to %q", key, got)
			}
		}
		d, err := w.signed(credential + "-tls")
		if err != nil || d.Kubeconfig == nil || d.Kubeconfig.Server != to {
			return fmt.Errorf("its agent is told %+v, %v", d.Kubeconfig, err) //nolint:errorlint // it may be nil
		}
		return nil
	})
}
