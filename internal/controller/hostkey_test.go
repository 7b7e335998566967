package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// hostRequest is what the kubelet of k8s-node1 asks for.
func hostRequest(mods ...func(*pki.CertificateSpec)) pki.CertificateSpec {
	r := pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}},
		Usages:  []pki.Usage{pki.ClientAuth}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}
	for _, m := range mods {
		m(&r)
	}
	return r
}

// hostKey makes a key as a host does, and its request.
func (w *env) hostKey(mods ...func(*pki.CertificateSpec)) (pki.PrivateKey, string) {
	w.t.Helper()
	r := hostRequest(mods...)
	key, err := pki.GenerateKey(r.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := pki.NewCSR(r, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return key, string(csr)
}

// onHost leaves the key on the host, which asks by the spec; by its Lease if the request is "".
func onHost(request string) func(*v1alpha1.NodeCredential) {
	return func(c *v1alpha1.NodeCredential) {
		c.Spec.KeySource, c.Spec.Request = v1alpha1.KeySourceHost, request
		if request == "" {
			c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
		}
	}
}

// submit writes a request into a credential's Lease, once there is one, as an agent does.
func (w *env) submit(credential, request string) {
	w.t.Helper()
	w.eventually("there is a Lease", func() error {
		if w.missing(credential+"-tls", &coordinationv1.Lease{}) {
			return errors.New("there is none")
		}
		return nil
	})
	edit(w, credential+"-tls", &coordinationv1.Lease{}, func(l *coordinationv1.Lease) { l.Annotations[v1alpha1.CSRAnnotation] = request })
}

// foreignLease is one that somebody made in a credential's place, with the marks of the operator's but for its seal.
func foreignLease(name, request string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue},
		Annotations: map[string]string{
			v1alpha1.OwnerAnnotation: "NodeCredential/node1", v1alpha1.CSRAnnotation: request, v1alpha1.ClaimAnnotation: `seal {"uid":"x"}`,
		},
	}}
}

// isFor waits until node1's certificate is for a key, and its kubeconfig holds that certificate.
func (w *env) isFor(key pki.PrivateKey) pki.Leaf {
	w.t.Helper()
	var pair pki.Leaf
	w.eventually("there is a certificate for the host's key", func() error {
		if w.missing("node1-tls", &corev1.Secret{}) || w.missing("node1-kubeconfig", &corev1.Secret{}) {
			return errors.New("a Secret is missing")
		}
		var err error
		if pair, err = pki.ParseLeafCertificate(w.secret("node1-tls").Data["tls.crt"]); err != nil {
			return err
		}
		if !pki.SamePublicKey(pair.Cert.PublicKey, key.Public()) {
			return errors.New("it is for another key")
		}
		return differs(w.secret("node1-kubeconfig").Data["tls.crt"], pair.CertPEM())
	})
	return pair
}

// holdsNoKey looks through everything that an operator may write: only the CAs' and the API servers' Secrets hold keys.
func (w *env) holdsNoKey() {
	w.t.Helper()
	var secrets corev1.SecretList
	w.list(&secrets)
	for _, s := range secrets.Items {
		owner := s.Annotations[v1alpha1.OwnerAnnotation]
		if strings.HasPrefix(owner, "ClusterCA/") || strings.HasPrefix(owner, "APIServerCertificate/") {
			continue
		}
		if s.Type != corev1.SecretTypeOpaque {
			w.t.Errorf("Secret %s is of type %s", s.Name, s.Type)
		}
		for _, name := range []string{"tls.key", "value"} {
			if _, there := s.Data[name]; there {
				w.t.Errorf("Secret %s has %s", s.Name, name)
			}
		}
		for name, data := range s.Data {
			if bytes.Contains(data, []byte("PRIVATE KEY")) || bytes.Contains(data, []byte("client-key-data")) {
				w.t.Errorf("Secret %s holds a private key in %s", s.Name, name)
			}
		}
	}
}

// TestKeyOnHost issues from spec.request: what is issued follows from the spec, the key from the request, and no Secret
// holds a key, not even one that somebody puts there.
func TestKeyOnHost(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, csr := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", onHost(csr)))
	var c v1alpha1.NodeCredential
	w.ready("node1", &c)
	pair := w.isFor(key)
	if got := pki.SubjectOf(pair.Cert).String(); got != "CN=system:node:k8s-node1, O=system:nodes" {
		t.Errorf("subject is %s", got)
	}
	if got := pair.Cert.NotAfter.Sub(pair.Cert.NotBefore); got != 8760*time.Hour+pki.ClockSkew {
		t.Errorf("it is valid for %v", got)
	}
	files, err := clientcmd.Load(w.secret("node1-kubeconfig").Data["kubeconfig.files"])
	if err != nil || files.AuthInfos["system:node:k8s-node1"].ClientKey != "/etc/kubernetes/pki/kubelet-client.key" {
		t.Errorf("%v: kubeconfig.files is\n%s", err, w.secret("node1-kubeconfig").Data["kubeconfig.files"])
	}
	if len(w.secret("node1-tls").Data["ca.crt"]) == 0 || len(w.secret("node1-kubeconfig").Data["ca.crt"]) == 0 {
		t.Error("a bundle is missing")
	}
	w.holdsNoKey()
	for _, name := range []string{"node1-tls", "node1-kubeconfig"} {
		edit(w, name, &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.key"] = []byte("of somebody") })
		w.eventually("tls.key goes", func() error {
			if _, there := w.secret(name).Data["tls.key"]; there {
				return errors.New("it is there")
			}
			return nil
		})
	}
	w.settled()
	before := w.versions()
	w.restartAt(w.clock.Now())
	w.settled()
	for name, version := range w.versions() {
		if before[name] != version {
			t.Errorf("%s changed from %s to %s", name, before[name], version)
		}
	}

	// The same key over a renewal and an edit, until the host asks with another.
	w.restartAt(c.Status.Certificate.RenewalTime.Time)
	w.eventually("renewed", func() error {
		if w.isFor(key).Cert.Equal(pair.Cert) {
			return errors.New("it is the old one")
		}
		return nil
	})
	edit(w, "node1", &c, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(48) })
	w.eventually("issued for another validity", func() error {
		if p := w.isFor(key); p.Cert.NotAfter.Sub(p.Cert.NotBefore) != 48*time.Hour+pki.ClockSkew {
			return errors.New("it is the old one")
		}
		return nil
	})
	another, csr := w.hostKey()
	edit(w, "node1", &c, func(c *v1alpha1.NodeCredential) { c.Spec.Request = csr })
	w.isFor(another)
	w.ready("node1", &c)
	w.holdsNoKey()
}

// TestKeyOnHostByLease waits for the agent's request, takes it only from the credential's own Lease, and prefers the spec's.
func TestKeyOnHostByLease(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, csr := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), foreignLease("node1-tls", csr), newKubelet("node1", onHost("")))
	var c v1alpha1.NodeCredential
	w.condition("node1", &c, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.settled()
	if !w.missing("node1-tls", &corev1.Secret{}) {
		t.Fatal("a Lease that is not the credential's own was believed")
	}
	w.delete(w.lease("node1-tls"))
	waits := func(ready metav1.ConditionStatus) {
		t.Helper()
		r := w.condition("node1", &c, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRequestMissing)
		if !strings.Contains(r.Message, `the agent of host "k8s-node1"`) || !strings.Contains(r.Message, `Lease "node1-tls"`) {
			t.Errorf("the message is %q", r.Message)
		}
		w.condition("node1", &c, v1alpha1.ReadyCondition, ready, map[bool]string{true: v1alpha1.ReasonIssued, false: v1alpha1.ReasonRequestMissing}[ready == metav1.ConditionTrue])
	}
	waits(metav1.ConditionFalse)
	w.submit("node1", csr)
	w.notApproved(key, metav1.ConditionFalse)
	if !w.missing("node1-tls", &corev1.Secret{}) {
		t.Fatal("a certificate was issued for a key that nobody has approved")
	}
	w.approve(key)
	w.isFor(key)
	w.ready("node1", &c)

	// Without a request the certificate is looked after all the same.
	w.submit("node1", "")
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("damage") })
	w.eventually("the bundle is repaired", func() error {
		return differs(w.secret("node1-tls").Data["ca.crt"], w.secret("k8s-master-tls").Data["ca.crt"])
	})
	w.isFor(key)
	w.holdsNoKey()
}

// TestRefusedRequestsKeepTheCertificate submits what must not be signed, each way that a host can.
func TestRefusedRequestsKeepTheCertificate(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, good := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", onHost(good)))
	w.ready("node1", &v1alpha1.NodeCredential{})
	before := w.isFor(key)
	secret, err := key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(mods ...func(*pki.CertificateSpec)) string { _, csr := w.hostKey(mods...); return csr }
	for want, csr := range map[string]string{
		`its subject must be "CN=system:node:k8s-node1, O=system:nodes"`: ask(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"system:masters"} }),
		"names or addresses": ask(func(r *pki.CertificateSpec) { r.SANs.DNSNames = []string{"k8s-master"} }),
		"key usages":         ask(func(r *pki.CertificateSpec) { r.Usages = append(r.Usages, pki.ServerAuth) }),
		"its key must be ECDSA-256, not ECDSA-384": ask(func(r *pki.CertificateSpec) { r.Key.Size = 384 }),
		"holds 2": good + good,
	} {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Request = csr })
		w.refuses("spec.request: ", want)
	}
	edit(w, "node1", &v1alpha1.NodeCredential{}, onHost(""))
	w.submit("node1", string(secret)) // no rule of the schema looks at this one
	w.refuses(`the request in Lease "node1-tls": `, "private key")
	if !w.isFor(key).Cert.Equal(before.Cert) {
		t.Error("another certificate was issued")
	}
	w.holdsNoKey()
	w.saysNothingOf(secret)
	w.submit("node1", good)
	w.eventually("all is well again", func() error {
		var c v1alpha1.NodeCredential
		w.get("node1", &c)
		if len(c.Status.Conditions) == 0 || slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.StalledCondition }) {
			return fmt.Errorf("conditions are %+v", c.Status.Conditions)
		}
		return nil
	})
}

// refuses waits until node1's request is refused, and stays usable.
func (w *env) refuses(from, want string) {
	w.t.Helper()
	w.eventually("refused: "+want, func() error {
		var c v1alpha1.NodeCredential
		s := w.condition("node1", &c, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRequestRefused)
		if !strings.HasPrefix(s.Message, from) || !strings.Contains(s.Message, want) {
			return fmt.Errorf("the message is %q", s.Message)
		}
		return nil
	})
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// saysNothingOf looks for the lines of a key where people read.
func (w *env) saysNothingOf(key []byte) {
	w.t.Helper()
	var c v1alpha1.NodeCredential
	var events eventsv1.EventList
	w.get("node1", &c)
	w.list(&events)
	said := fmt.Sprintf("%+v %+v %s", c.Status, events.Items, logs.String())
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && strings.Contains(said, line) {
			w.t.Error("status, events or logs hold the key")
		}
	}
}

// TestKeySourceChange switches where the key is, either way: a Secret's type never changes, so nothing is touched until
// there is another Secret.
func TestKeySourceChange(t *testing.T) {
	t.Parallel()
	w := standard(t)
	key, csr := w.hostKey()
	differing := func(change func(*v1alpha1.NodeCredential)) {
		t.Helper()
		w.settled()
		leaf, kube := w.secret("node1-tls"), w.secret("node1-kubeconfig")
		edit(w, "node1", &v1alpha1.NodeCredential{}, change)
		s := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretTypeDiffers)
		for _, want := range []string{`Secret "node1-tls"`, "another secretName", "delete the Secret"} {
			if !strings.Contains(s.Message, want) {
				t.Errorf("the message is %q", s.Message)
			}
		}
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		w.settled()
		for _, old := range []*corev1.Secret{leaf, kube} {
			if now := w.secret(old.Name); now.ResourceVersion != old.ResourceVersion {
				t.Errorf("Secret %s was written", old.Name)
			}
		}
	}
	differing(onHost(csr))
	// What is there is still looked after, in its own form.
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.Endpoint = "https://centos-master:6443" })
	w.eventually("the kubeconfig follows", func() error {
		config, err := clientcmd.Load(w.secret("node1-kubeconfig").Data["value"])
		if err != nil || config.Clusters["k8s-cluster"].Server != "https://centos-master:6443" || len(config.AuthInfos["system:node:k8s-node1"].ClientKeyData) == 0 {
			return fmt.Errorf("it is the old one, or has no key (%w)", err)
		}
		return nil
	})
	w.delete(w.secret("node1-tls"))
	w.isFor(key)
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.holdsNoKey()

	byOperator := func(c *v1alpha1.NodeCredential) { c.Spec.KeySource, c.Spec.Request = v1alpha1.KeySourceOperator, "" }
	differing(byOperator)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "node1-own" })
	w.ready("node1", &v1alpha1.NodeCredential{})
	if s := w.secret("node1-own"); s.Type != corev1.SecretTypeTLS || !pki.SamePublicKey(w.pair("node1-own").Cert.PublicKey, w.pair("node1-own").Key.Public()) {
		t.Errorf("Secret %s is of type %s", s.Name, s.Type)
	}
	w.eventually("the kubeconfig has every form again", func() error {
		for _, name := range []string{"value", "kubeconfig.files", "tls.key"} {
			if len(w.secret("node1-kubeconfig").Data[name]) == 0 {
				return fmt.Errorf("%s is missing", name)
			}
		}
		return nil
	})
}

// TestRotationKeepsTheHostsKey replaces the CA: at no time may a host or the API server refuse the other.
func TestRotationKeepsTheHostsKey(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, csr := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", onHost(csr)))
	w.ready("node1", &v1alpha1.NodeCredential{})
	old := w.isFor(key)
	w.observe()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	w.replaced("k8s", func(phase plan.Phase) {
		w.holdsNoKey()
		if next := w.isFor(key); phase == plan.DistributingTrust && !next.Cert.Equal(old.Cert) {
			t.Error("it was issued again before the new CA was trusted")
		}
	})
	next := w.isFor(key)
	if err := next.Verify(w.clock.Now(), w.bundle("k8s-master-tls", "client-ca.crt")); err != nil || next.Cert.Issuer.CommonName != "k8s g2" {
		t.Errorf("it is signed by %s: %v", next.Cert.Issuer, err)
	}
}
