package export

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// edit changes a Secret or a ClusterCA of the fixture.
func edit[T any](w *fixture, name string, change func(*T)) {
	w.t.Helper()
	for _, o := range w.objects {
		if found, ok := any(o).(*T); ok && o.GetName() == name {
			change(found)
			return
		}
	}
	w.t.Fatalf("there is no %s", name)
}

// TestBundlesAreThePublished: a bundle counts if a Secret holds it and the ClusterCA publishes it, and no ConfigMap is read.
func TestBundlesAreThePublished(t *testing.T) {
	put := func(secret, key string, cas ...string) func(*fixture) {
		return func(w *fixture) {
			var bundle []byte
			for _, ca := range cas {
				bundle = append(bundle, w.cas[ca].CertPEM()...)
			}
			edit(w, secret, func(s *corev1.Secret) { s.Data[key] = bundle })
		}
	}
	clients := func(w *fixture) {
		edit(w, "k8s-master", func(s *v1alpha1.APIServerCertificate) {
			s.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "etcd"}}
		})
	}
	for name, c := range map[string]struct {
		host    string
		changes []func(*fixture)
		want    string // "": it is exported
	}{
		"as published":              {host: "k8s-master"},
		"of several ClusterCAs":     {"k8s-master", []func(*fixture){clients, put("k8s-master-tls", "client-ca.crt", "k8s", "etcd")}, ""},
		"one of several is missing": {"k8s-master", []func(*fixture){clients}, `Secret "k8s-master-tls" holds as client-ca.crt another trust bundle than ClusterCA "etcd" publishes`},
		"another for the aggregation layer": {"k8s-master", []func(*fixture){func(w *fixture) {
			edit(w, "k8s-master", func(s *v1alpha1.APIServerCertificate) {
				s.Spec.RequestHeaderCARef = &v1alpha1.CAReference{Name: "front-proxy"}
			})
		}, put("k8s-master-tls", "requestheader-ca.crt", "etcd")}, `Secret "k8s-master-tls" holds as requestheader-ca.crt another trust bundle than ClusterCA "front-proxy"`},
		"another than that of the API server": {"k8s-node1", []func(*fixture){put("k8s-node1-Kubelet-kubeconfig", "ca.crt", "etcd")}, `Secret "k8s-node1-Kubelet-kubeconfig" holds as ca.crt another trust bundle than ClusterCA "k8s"`},
		"one more":                            {"k8s-node1", []func(*fixture){put("k8s-node1-Kubelet-tls", "ca.crt", "k8s", "etcd")}, `a certificate that no ClusterCA of [k8s] publishes, of "CN=etcd-ca"`},
		"damaged": {"k8s-node1", []func(*fixture){func(w *fixture) {
			edit(w, "k8s-node1-Kubelet-tls", func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("damaged") })
		}}, `Secret "k8s-node1-Kubelet-tls": ca.crt: `},
		"a kubelet's, on another host": {"k8s-master", []func(*fixture){func(w *fixture) {
			edit(w, "k8s-node1-KubeletServing", func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "kubelets" })
			ca := &v1alpha1.ClusterCA{ObjectMeta: named("kubelets")}
			ca.Status.Trust.BundleSHA256 = "another"
			w.objects = append(w.objects, ca)
		}}, `Secret "k8s-node1-KubeletServing-tls" holds as ca.crt another trust bundle than ClusterCA "kubelets"`},
		"nothing is published yet": {"k8s-node1", []func(*fixture){func(w *fixture) {
			edit(w, "k8s", func(c *v1alpha1.ClusterCA) { c.Status.Trust.BundleSHA256 = "" })
		}}, `ClusterCA "k8s" does not say yet which trust bundle it publishes`},
		"the ClusterCA is gone": {"k8s-node1", []func(*fixture){func(w *fixture) {
			edit(w, "k8s", func(c *v1alpha1.ClusterCA) { c.Name = "renamed" })
		}}, `ClusterCA "k8s" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			w := cluster(t)
			for _, change := range c.changes {
				change(w)
			}
			_, err := Gather(t.Context(), w.client(), namespace, c.host)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error lacks %q: %v", c.want, err)
			}
		})
	}
}
