package controller_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// TestFrontProxyComesFirst: the key in common comes after the front proxy's CA was there, with a CA that is made later, or is named later.
func TestFrontProxyComesFirst(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("front"), newCA("k8s"), newCA("own"), newServer("k8s-master", func(s *v1alpha1.APIServerCertificate) {
		s.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "clients"}}
		s.Spec.RequestHeaderCARef = &v1alpha1.CAReference{Name: "front"}
	}))
	w.ready("front", &v1alpha1.ClusterCA{})
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	w.create(subordinate("clients", "front"))
	w.ready("clients", &v1alpha1.ClusterCA{})
	refused := func() {
		t.Helper()
		w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonClientCAShared)
		w.settled()
	}
	refused()
	if s := w.secret("k8s-master-tls"); len(s.Data["requestheader-ca.crt"]) > 0 {
		t.Error("the front proxy's bundle is published beside its own clients")
	}
	clients := func(names ...string) {
		edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) {
			s.Spec.ClientCARefs = nil
			for _, n := range names {
				s.Spec.ClientCARefs = append(s.Spec.ClientCARefs, v1alpha1.CAReference{Name: n})
			}
		})
	}
	own := pki.EncodeCertificates(w.root("own"))
	clients("own")
	w.eventually("both are published", func() error {
		s := w.secret("k8s-master-tls")
		return errors.Join(differs(s.Data["requestheader-ca.crt"], pki.EncodeCertificates(w.root("front"))), differs(s.Data["client-ca.crt"], own))
	})
	clients("own", "clients")
	refused()
	if err := differs(w.secret("k8s-master-tls").Data["client-ca.crt"], own); err != nil {
		t.Errorf("the clients' bundle has gained the front proxy's key: %v", err)
	}
}

// TestFrontProxyIsAway: while the front proxy's CA cannot be had, its bundle stays as it was published. What somebody else writes there keeps no CA of clients
// trusted that is not one any more, and lets none in that has a key of what was published.
func TestFrontProxyIsAway(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("front"), newCA("k8s"), newCA("old"), newCA("new"), newServer("k8s-master", func(s *v1alpha1.APIServerCertificate) {
		s.Spec.ClientCARefs, s.Spec.RequestHeaderCARef = []v1alpha1.CAReference{{Name: "old"}}, &v1alpha1.CAReference{Name: "front"}
	}))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	names := func(front string, clients ...string) {
		edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) {
			s.Spec.RequestHeaderCARef.Name, s.Spec.ClientCARefs = front, nil
			for _, name := range clients {
				s.Spec.ClientCARefs = append(s.Spec.ClientCARefs, v1alpha1.CAReference{Name: name})
			}
		})
	}
	holds := func(key string, cas ...string) {
		t.Helper()
		var want []*x509.Certificate
		for _, ca := range cas {
			want = append(want, w.root(ca))
		}
		w.eventually(fmt.Sprint(key, " is that of ", cas), func() error {
			return differs(w.secret("k8s-master-tls").Data[key], pki.EncodeCertificates(want...))
		})
	}
	names("away", "old")
	w.settled()
	edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) {
		s.Data["requestheader-ca.crt"] = pki.EncodeCertificates(w.root("front"), w.root("new"))
	})
	w.settled() // what is there is taken up by a visit, and by the claim
	names("away", "new")
	holds("client-ca.crt", "new")
	edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["requestheader-ca.crt"] = []byte("mine") })
	w.settled()
	names("away", "new", "front")
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonClientCAShared)
	w.settled()
	holds("client-ca.crt", "new")
	names("front", "new")
	holds("requestheader-ca.crt", "front")
}

// TestNodeNames has names that Kubernetes takes for Nodes (validation.IsDNS1123Subdomain), and an API server that is known by its address alone.
func TestNodeNames(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("master", func(s *v1alpha1.APIServerCertificate) {
		s.Spec.HostName, s.Spec.DNSNames, s.Spec.IPAddresses, s.Spec.Endpoint = "10.1.10.238", nil, nil, "https://10.1.10.238:6443"
	}))
	w.goesOn("master", &v1alpha1.APIServerCertificate{})
	if cert := w.pair("master-tls").Cert; cert.Subject.CommonName != "10.1.10.238" || cert.VerifyHostname("10.1.10.238") != nil || slices.Contains(cert.DNSNames, "10.1.10.238") {
		t.Errorf("the API server is %q, %q and %v", cert.Subject.CommonName, cert.DNSNames, cert.IPAddresses)
	}
	for name, host := range map[string]string{"a": "10.0.10.2", "b": "cn-hangzhou.192.168.0.12", "c": "node.1"} {
		w.create(newKubelet(name, func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.APIServerRef.Name = host, "master" }))
		w.create(newKubelet(name+"-serving", func(c *v1alpha1.NodeCredential) {
			c.Spec.HostName, c.Spec.Role, c.Spec.Kubeconfig, c.Spec.APIServerRef = host, "KubeletServing", nil, nil
		}))
		w.goesOn(name, &v1alpha1.NodeCredential{})
		w.goesOn(name+"-serving", &v1alpha1.NodeCredential{})
		if got := w.pair(name + "-tls").Cert.Subject.CommonName; got != "system:node:"+host {
			t.Errorf("the user is %q", got)
		}
		if err := w.pair(name + "-serving-tls").Cert.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	long := newKubelet("long", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = strings.Repeat("n", 53) })
	long.Namespace = w.ns
	if err := w.api.Create(t.Context(), long); err == nil || !strings.Contains(err.Error(), "--hostname-override") {
		t.Errorf("a name that does not fit into a certificate: %v", err)
	}
}

// TestBackDoors has what was issued once, on a real API server: admission refuses what it can see, the operator the rest.
func TestBackDoors(t *testing.T) {
	t.Parallel()
	w := standard(t)
	refused := map[string]func(*v1alpha1.NodeCredential){
		"front-proxy": func(c *v1alpha1.NodeCredential) {
			c.Spec.HostName, c.Spec.CARef.Name = "front-proxy-client", "front-proxy"
		},
		"kubelets":     func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "kube-apiserver-kubelet-client" },
		"line-break":   func(c *v1alpha1.NodeCredential) { custom(c, "jane\n") },
		"nul":          func(c *v1alpha1.NodeCredential) { custom(c, "jane\x00x") },
		"zero-width":   func(c *v1alpha1.NodeCredential) { custom(c, "jane\u200b") },
		"group":        func(c *v1alpha1.NodeCredential) { custom(c, "jane", "ops\n") },
		"cyrillic":     func(c *v1alpha1.NodeCredential) { custom(c, "j\u0430ne") },
		"admins":       func(c *v1alpha1.NodeCredential) { custom(c, "jane", "kubeadm:cluster-admins") },
		"no reference": func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "x " },
	}
	for name, mod := range refused {
		c := newKubelet("refused", func(c *v1alpha1.NodeCredential) { c.Spec.Role, c.Spec.Kubeconfig = "EtcdServer", nil }, mod)
		c.Namespace = w.ns
		if err := w.api.Create(t.Context(), c); !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, mod := range map[string]func(*v1alpha1.NodeCredential){
		"like": func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "front-pr0xy-client" },
		"case": func(c *v1alpha1.NodeCredential) { custom(c, "Front-Proxy-Client") },
		"user": func(c *v1alpha1.NodeCredential) { custom(c, "kubernetes-admin") },
	} {
		w.create(newKubelet(name, func(c *v1alpha1.NodeCredential) { c.Spec.Role, c.Spec.Kubeconfig = "EtcdServer", nil }, mod))
		w.condition(name, &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec)
		if !w.missing(name+"-tls", &corev1.Secret{}) {
			t.Errorf("%s: a certificate was issued", name)
		}
	}
	w.create(newCA("like", func(c *v1alpha1.ClusterCA) { c.Spec.Subject.CommonName = "front-proxy-c1ient" }))
	w.condition("like", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec)
}

// custom makes a credential one of role Custom.
func custom(c *v1alpha1.NodeCredential, user string, groups ...string) {
	c.Spec.Role = v1alpha1.RoleCustom
	c.Spec.Custom = &v1alpha1.CustomIdentity{CommonName: user, Organizations: groups, Usages: []v1alpha1.KeyUsage{v1alpha1.ClientAuth}}
}
