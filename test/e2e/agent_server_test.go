package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

const (
	serverLease    = "apiserver-tls"
	serverAccounts = "k8s-sa"
)

// serverByHand is a host with an API server whose Secrets the test writes, in a namespace without custom resources: nobody repairs them. What listens
// there shakes hands as a kube-apiserver does that has just read its files.
func serverByHand(t *testing.T) *host {
	t.Helper()
	ns := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "by-hand-"}}
	if err := shared.management.Create(t.Context(), &ns); err != nil {
		t.Fatal(err)
	}
	newLease(t, ns.Name, serverLease, 10)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	h := newHost(t, agent.Config{
		APIVersion: agent.ConfigVersion, Kind: agent.ConfigKind, Host: handHost, Namespace: ns.Name,
		ManagementClusters: managed(kubeconfigOf(t, shared.config)),
		DeliveryKeys:       handPublic(),
		APIServer: &agent.APIServer{
			Name: "k8s-hand", SecretName: serverLease, ServiceAccountSecretName: serverAccounts, Endpoint: "https://" + listener.Addr().String(),
		},
		Components: []agent.Component{{Name: "kube-apiserver", Command: []string{"true"}}},
	})
	go h.serve(listener)
	return h
}

// serve shakes hands until the listener is closed.
func (h *host) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			server := tls.Server(conn, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				pair, err := tls.LoadX509KeyPair(h.at(hostfiles.APIServerCert), h.at(hostfiles.APIServerKey))
				if err != nil {
					return nil, err
				}
				text, err := os.ReadFile(h.at(hostfiles.ClientCA))
				if err != nil {
					return nil, err
				}
				clients := x509.NewCertPool()
				clients.AppendCertsFromPEM(text)
				return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, ClientCAs: clients}, nil
			}})
			if server.Handshake() == nil {
				_, _ = server.Read(make([]byte, 1)) // until the other end has seen enough
			}
		}()
	}
}

// serverSecrets are what the operator writes for an APIServerCertificate, and for its service accounts.
func (h *host) serverSecrets(name, uid string) contents {
	h.t.Helper()
	ca, proxies := otherCA(h.t), otherCA(h.t)
	sans, err := pki.NewSANs(nil, []string{"127.0.0.1"})
	if err != nil {
		h.t.Fatal(err)
	}
	i := issueBy(h.t, ca, time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: h.config.Host}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Validity: time.Hour,
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256},
	})
	accounts := h.accountKeys()
	data := map[string][]byte{
		"tls.crt": i.pair.CertPEM(), "ca.crt": ca.CertPEM(), "client-ca.crt": ca.CertPEM(), "requestheader-ca.crt": proxies.CertPEM(),
	}
	first := map[string]int64{"k8s": 1}
	signAs(h.t, data, delivery.Statement{
		Kind: v1alpha1.KindAPIServerCertificate, Namespace: h.config.Namespace, Name: name, UID: uid, Host: h.config.Host,
		Trust: map[string]map[string]int64{"ca.crt": first, "client-ca.crt": first}, ServiceAccounts: &delivery.ServiceAccounts{SHA256: delivery.DigestOf(accounts["sa.pub"])},
	})
	data["tls.key"] = i.key
	return contents{serverLease: data, serverAccounts: accounts}
}

// accountKeys are what the operator writes for a ServiceAccountKey: the same each time.
func (h *host) accountKeys() map[string][]byte {
	h.t.Helper()
	if h.accounts != nil {
		return h.accounts
	}
	tokens, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		h.t.Fatal(err)
	}
	private, err := tokens.Reveal()
	if err != nil {
		h.t.Fatal(err)
	}
	public, err := tokens.PublicPEM()
	if err != nil {
		h.t.Fatal(err)
	}
	h.accounts = map[string][]byte{"sa.key": private, "sa.pub": public}
	return h.accounts
}

// signAs signs the values of a Secret, and adds that to them.
func signAs(t testing.TB, data map[string][]byte, s delivery.Statement) {
	t.Helper()
	s.Contents = map[string]string{}
	for key, value := range data {
		s.Contents[key] = delivery.DigestOf(value)
	}
	text, err := delivery.Sign(handKey, delivery.Document{Statement: s, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	data[consumers.DeliveryKey] = text
}

// edited is a signed document that says something else, under the signature of before.
func edited(t *testing.T, envelope []byte, change func([]byte) []byte) []byte {
	t.Helper()
	var e struct {
		KeyID     string `json:"keyID"`
		Document  []byte `json:"document"`
		Signature []byte `json:"signature"`
	}
	err := json.Unmarshal(envelope, &e)
	if err == nil {
		e.Document = change(e.Document)
		envelope, err = json.Marshal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}
