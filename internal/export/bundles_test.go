package export

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
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
			_, err := Gather(t.Context(), clientreader.Reader{Client: w.client()}, namespace, c.host)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error lacks %q: %v", c.want, err)
			}
		})
	}
}

// TestWhatOthersSayOfAnAPIServer: a CA that nothing of an API server is of comes into none of its files, whatever credentials of it name that API server.
func TestWhatOthersSayOfAnAPIServer(t *testing.T) {
	w := cluster(t)
	staging, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "staging-ca"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w.cas["staging"] = staging
	ca := &v1alpha1.ClusterCA{ObjectMeta: named("staging")}
	ca.Status.Trust.BundleSHA256 = pki.BundleDigest([]*x509.Certificate{staging.Cert})
	w.objects = append(w.objects, ca)
	for _, role := range []v1alpha1.Role{"KubeletServing", "EtcdServer", "EtcdPeer"} {
		w.credential("eve-host", role, "staging", serves("10.9.9.9"), func(c *v1alpha1.NodeCredential) {
			c.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: "k8s-master"}
		})
	}
	files, notes := w.lay("k8s-master", "")
	if got := files[hostfiles.KubeletCA].Data; string(got) != string(w.cas["k8s"].CertPEM()) {
		t.Errorf("kubelets are verified with\n%s", got)
	}
	for name, f := range files {
		if text := string(f.Data); strings.HasPrefix(name, "args/") && (strings.Contains(text, "10.9.9.9") || strings.Contains(text, "eve-host")) {
			t.Errorf("%s names another team's host:\n%s", name, text)
		}
	}
	if len(notes) != 1 || !strings.Contains(notes[0], `"staging"`) || !strings.Contains(notes[0], `"eve-host-KubeletServing"`) {
		t.Errorf("notes are %q", notes)
	}
}

// TestHostsOfTwoCAs: two credentials of role Host of two CAs, both of users of one API server, are exported. None says whose clients a kubelet would take.
func TestHostsOfTwoCAs(t *testing.T) {
	for ca, want := range map[string]bool{"k8s": true, "etcd": false} {
		w := newFixture(t)
		w.server(func(s *v1alpha1.APIServerCertificate) {
			s.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "etcd"}}
		})
		w.credential("k8s-node1", "Host", "k8s")
		w.credential("k8s-node1", "Host", ca, func(c *v1alpha1.NodeCredential) {
			c.Name, c.Spec.APIServerRef = "another", &v1alpha1.APIServerReference{Name: "k8s-master"}
		})
		edit(w, "another-kubeconfig", func(s *corev1.Secret) { s.Data["ca.crt"] = w.cas["k8s"].CertPEM() })
		files, notes := w.lay("k8s-node1", "")
		_, brought := files[hostfiles.ClientCA]
		_, kubelet := files["args/kubelet"]
		if brought != want || kubelet != want || len(files["another.conf"].Data) == 0 || len(files["k8s-node1-Host.conf"].Data) == 0 {
			t.Errorf("beside %s: %s %t, the flags of a kubelet %t", ca, hostfiles.ClientCA, brought, kubelet)
		}
		if told := len(notes) == 1 && strings.Contains(notes[0], "add a NodeCredential of role Kubelet"); told == want {
			t.Errorf("beside %s: notes are %q", ca, notes)
		}
		listed := slices.ContainsFunc(w.all().Bundles("k8s-node1"), func(b Bundle) bool { return b.Path == hostfiles.ClientCA })
		if listed != want {
			t.Errorf("beside %s: it is listed: %t", ca, listed)
		}
	}
}
