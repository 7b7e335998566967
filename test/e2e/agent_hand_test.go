package e2e_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

const (
	handHost  = "k8s-hand"
	handLease = "kubelet-tls"
)

// kubeletFiles are those that a host with a kubelet's credential has.
var kubeletFiles = []string{"kubelet.conf", "kubelet.embedded.conf", "pki/ca.crt", "pki/client-ca.crt", "pki/kubelet-client.crt", "pki/kubelet-client.key"}

// byHand is a host whose Secrets the test writes, in a namespace without custom resources: nobody repairs them.
func byHand(t *testing.T) *host {
	t.Helper()
	ns := testenv.Namespace(t, shared.management, "by-hand-")
	newLease(t, ns, handLease, 10)
	return newHost(t, agent.Config{
		APIVersion: agent.ConfigVersion, Kind: agent.ConfigKind, Host: handHost, Namespace: ns,
		ManagementClusters: managed(kubeconfigOf(t, shared.config)),
		DeliveryKeys:       handPublic(),
		Credentials:        []agent.Credential{{Name: "kubelet", Role: "Kubelet", SecretName: handLease, Kubeconfig: true}},
		Components:         []agent.Component{{Name: "kubelet", Command: []string{"true"}}},
	})
}

// managed are management clusters, by their kubeconfigs.
func managed(kubeconfigs ...string) []agent.ManagementCluster {
	var out []agent.ManagementCluster
	for i, k := range kubeconfigs {
		out = append(out, agent.ManagementCluster{Name: fmt.Sprintf("m%d", i), Kubeconfig: k})
	}
	return out
}

// issued is what a kubelet's Secret holds.
type issued struct {
	pair        pki.Leaf
	key         []byte
	own, server []byte // bundles: of who signed the certificate, and of who signed for the API server
	endpoint    string
	serial      string
}

// kubeletRequest is what the host's kubelet has to have.
func kubeletRequest() pki.CertificateSpec {
	return pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:" + handHost, Organizations: []string{"system:nodes"}},
		Usages:  []pki.Usage{pki.ClientAuth}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}
}

// issueBy signs with a CA at a time.
func issueBy(t *testing.T, ca pki.CA, now time.Time, r pki.CertificateSpec) issued {
	t.Helper()
	pair, err := pki.Issue(now, r, ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	trusted := signingPair(t)
	return issued{pair: pair, key: key, own: ca.CertPEM(), server: trusted.CertPEM(), endpoint: shared.endpoint, serial: pki.SerialOf(pair.Cert)}
}

// good is a new certificate that works.
func good(t *testing.T) issued {
	t.Helper()
	return issueBy(t, signingPair(t), time.Now(), kubeletRequest())
}

// handKey signs what the agents of these tests install.
var handKey = ed25519.NewKeyFromSeed([]byte("the delivery key of the tests..."))

// handPublic is its public half, as a configuration has it.
func handPublic() []string {
	text, err := delivery.EncodePublic(handKey.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // a key of Ed25519 can be encoded
	}
	return []string{string(text)}
}

// signed is what a Secret of a kubelet's credential holds, as the operator signs it.
func (i issued) signed(t testing.TB, namespace, name, host, uid string) map[string][]byte {
	t.Helper()
	first := map[string]int64{"k8s": 1}
	data := map[string][]byte{"tls.crt": i.pair.CertPEM(), "ca.crt": i.own, "apiserver-ca.crt": i.server}
	signAs(t, data, delivery.Statement{
		Kind: v1alpha1.KindNodeCredential, Namespace: namespace, Name: name, UID: uid, Host: host,
		Trust:      map[string]map[string]int64{"ca.crt": first, "apiserver-ca.crt": first},
		Kubeconfig: &delivery.Kubeconfig{Server: i.endpoint, ClusterName: "k8s-cluster", ContextName: "default", UserName: "kubelet"},
	})
	data["tls.key"] = i.key
	return data
}

// put writes the Secret, as the operator does.
func (h *host) put(i issued) {
	h.t.Helper()
	h.putSecret(handLease, i.signed(h.t, h.config.Namespace, "kubelet", h.config.Host, "any"))
}

func (h *host) putSecret(name string, data map[string][]byte) {
	h.t.Helper()
	s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.config.Namespace, Name: name}}
	err := shared.management.Get(h.t.Context(), client.ObjectKeyFromObject(&s), &s)
	there := err == nil
	if !there && !apierrors.IsNotFound(err) {
		h.t.Fatal(err)
	}
	s.Data = data
	if there {
		err = shared.management.Update(h.t.Context(), &s)
	} else {
		err = shared.management.Create(h.t.Context(), &s)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// has waits until the host's files are of a certificate, and that is reported as in use.
func (h *host) has(i issued) {
	h.t.Helper()
	testenv.Eventually(h.t, "certificate "+i.serial+" is in use", func() error {
		if r := h.report(handLease); r.Problem != "" || r.Verified == nil || r.Verified.SerialNumber != i.serial {
			return fmt.Errorf("the Lease says installed %+v, verified %+v, problem %q", r.Installed, r.Verified, r.Problem)
		}
		return nil
	})
	h.shows(i)
}

// shows expects the files of a certificate, now.
func (h *host) shows(i issued) {
	h.t.Helper()
	if got := string(h.read("pki/kubelet-client.crt")); got != string(i.pair.CertPEM()) {
		h.t.Errorf("the certificate is another one:\n%s", got)
	}
	if string(h.read("pki/kubelet-client.key")) != string(i.key) {
		h.t.Error("the key is another one")
	}
	h.wantModes(kubeletFiles...)
}

// longLived is the sample's CA as if it had begun a day earlier: it signs for the past.
func longLived(t *testing.T) pki.CA {
	t.Helper()
	ca := signingPair(t)
	earlier, err := pki.RenewRoot(time.Now().Add(-24*time.Hour), 87600*time.Hour, ca)
	if err != nil {
		t.Fatal(err)
	}
	return earlier
}
