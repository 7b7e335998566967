package agent

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// plane is the agent of an API server's host, and that API server.
type plane struct {
	*env
	api *fakeServer
}

// fakeServer answers what the agent asks an API server. Like kube-apiserver it reads the certificates at each handshake, and the service account
// keys when it is restarted.
type fakeServer struct {
	*httptest.Server
	dir string

	mu       sync.Mutex
	restarts []string // of what, in their order
	keySet   []byte
	signer   string                                 // the ID of the key that signs
	refuses  map[string]int                         // by path: with which status
	secrets  []metav1.PartialObjectMetadata         // of type kubernetes.io/service-account-token
	asked    map[string]int                         // how often, by path
	answers  map[string]func(w http.ResponseWriter) // by path: something else
}

// newPlane is a host whose agent has been told of some service account keys and has installed nothing yet.
func newPlane(t *testing.T, mods ...func(*Config)) *plane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &plane{env: &env{t: t, ca: newCA(t, at(), "k8s-ca"), now: testclock.NewFakeClock(at()), logs: &logs{}}}
	c := kubeletConfig(t.TempDir(), append([]func(*Config){func(c *Config) {
		c.APIServer = &APIServer{
			Name: "apiserver", SecretName: "apiserver-tls", ServiceAccountSecretName: "k8s-sa", Endpoint: "https://" + listener.Addr().String(),
		}
		c.Credentials = []Credential{{Name: "manager", Role: "ControllerManager", SecretName: "manager-tls", Kubeconfig: true}}
		c.Components = []Component{
			{Name: "kube-apiserver", Command: []string{"restart", "kube-apiserver"}},
			{Name: "kube-controller-manager", Command: []string{"restart", "kube-controller-manager"}},
		}
	}}, mods...)...)
	if problems := c.problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	w.api = &fakeServer{dir: c.Directory, refuses: map[string]int{}, asked: map[string]int{}, answers: map[string]func(http.ResponseWriter){}}
	w.api.serve(t, listener)
	w.server = w.api.Server
	w.Agent = w.restarted(c)
	w.run = w.api.run
	w.issueManager()
	return w
}

func (s *fakeServer) serve(t *testing.T, on net.Listener) {
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	s.Listener.Close()
	s.Listener = on
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, hostfiles.APIServerCert), filepath.Join(s.dir, hostfiles.APIServerKey))
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(filepath.Join(s.dir, hostfiles.ClientCA))
		if err != nil {
			return nil, err
		}
		clients := x509.NewCertPool()
		clients.AppendCertsFromPEM(text)
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, ClientCAs: clients}, nil
	}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
}

// run is how the agent restarts something.
func (s *fakeServer) run(_ context.Context, argv []string) (string, error) {
	s.mu.Lock()
	s.restarts = append(s.restarts, argv[1])
	s.mu.Unlock()
	if argv[1] != "kube-apiserver" {
		return "", nil
	}
	return "", s.load()
}

// load reads the service account keys, as a start does.
func (s *fakeServer) load() error {
	private, err := os.ReadFile(filepath.Join(s.dir, hostfiles.ServiceAccKey))
	if err != nil {
		return err
	}
	public, err := os.ReadFile(filepath.Join(s.dir, hostfiles.ServiceAccPub))
	if err != nil {
		return err
	}
	key, err := pki.ParsePrivateKey(private)
	if err != nil {
		return err
	}
	keys, err := keyring.ParsePublic(public)
	if err != nil {
		return err
	}
	return s.use(key.Public(), keys...)
}

// use has it sign by a key, and accept some.
func (s *fakeServer) use(signer crypto.PublicKey, keys ...crypto.PublicKey) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signer, err = keyring.KeyID(signer); err == nil {
		s.keySet, err = keyring.JWKS(keys)
	}
	return err
}

// answer answers clients with a certificate as whom it is for, and those with the token that it issued.
func (s *fakeServer) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch status, say := s.refuses[r.URL.Path], s.answers[r.URL.Path]; {
	case status != 0:
		w.WriteHeader(status)
	case say != nil:
		say(w)
	case bearer != "":
		if bearer != s.token() || r.URL.Path != keySetPath || len(r.TLS.PeerCertificates) > 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(s.keySet)
	case len(r.TLS.PeerCertificates) == 0:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		s.asManager(w, r)
	}
}

func (s *fakeServer) asManager(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /apis/authentication.k8s.io/v1/selfsubjectreviews":
		answerAs(w, r.TLS.PeerCertificates[0])
	case "GET /readyz":
		fmt.Fprint(w, "ok")
	case "POST " + accountPath + "/token":
		review := authenticationv1.TokenRequest{}
		if json.NewDecoder(r.Body).Decode(&review) != nil || *review.Spec.ExpirationSeconds != 600 {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		review.Status.Token = s.token()
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(review)
	case "GET /api/v1/secrets":
		if r.URL.Query().Get("fieldSelector") != "type="+string(corev1.SecretTypeServiceAccountToken) || r.Header.Get("Accept") != metadataOnly {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"}, Items: s.secrets}
		_ = json.NewEncoder(w).Encode(list)
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

// token is the only one that it issues.
func (s *fakeServer) token() string {
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"` + s.signer + `"}`))
	return head + ".e30.c2lnbmVk"
}

// put enters a Secret as it was last seen.
func (w *plane) put(s *corev1.Secret) {
	w.writes++
	s.ResourceVersion = fmt.Sprint(w.writes)
	w.store.put(s.Name, s, "")
}

// issueManager is what the operator does for the controller manager.
func (w *plane) issueManager() {
	w.t.Helper()
	pair, key := issue(w.t, at(), kubeletRequest(func(r *pki.CertificateSpec) {
		r.Subject, r.Validity = pki.Subject{CommonName: "system:kube-controller-manager"}, 24*time.Hour
	}), w.ca)
	s := secrets(w.t, pair, key, w.ca.CertPEM(), w.api.URL)["kubelet-tls"]
	s.Name = "manager-tls"
	sign(w.t, s, w.api.URL)
	w.put(s)
}

// publish is what the operator does for service account keys, the first of which signs.
func (w *plane) publish(keys ...pki.PrivateKey) string {
	s := accountSecret(w.t, keys...)
	w.put(s)
	return delivery.DigestOf(s.Data["sa.pub"])
}

// name has the document of the API server name service account keys, with a new certificate.
func (w *plane) name(accounts string, switchedAt time.Time) {
	w.t.Helper()
	sans, err := pki.NewSANs(nil, []string{"127.0.0.1"})
	if err != nil {
		w.t.Fatal(err)
	}
	pair, key := issue(w.t, at(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-node1"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: 24 * time.Hour,
	}, w.ca)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "apiserver-tls"}, Data: map[string][]byte{
		"tls.crt": pair.CertPEM(), "tls.key": key, "ca.crt": w.ca.CertPEM(), "client-ca.crt": w.ca.CertPEM(),
	}}
	signed(w.t, s, func(doc *delivery.Document) {
		doc.Kind, doc.ServiceAccounts = "APIServerCertificate", &delivery.ServiceAccounts{SHA256: accounts, SwitchedAt: switchedAt}
	})
	w.put(s)
}

// running is a host whose API server uses a service account key.
func running(t *testing.T, key pki.PrivateKey, mods ...func(*Config)) *plane {
	t.Helper()
	w := newPlane(t, mods...)
	w.name(w.publish(key), time.Time{})
	w.steps()
	if err := w.api.load(); err != nil {
		t.Fatal(err)
	}
	w.settles()
	return w
}

// settles lets so much time go by that everything has reloaded its files by itself, and what failed is tried again.
func (w *plane) settles() {
	w.t.Helper()
	for range 3 {
		w.passes(defaultReloadDelay)
	}
}

// report is what the agent would write into the Lease of the API server.
func (w *plane) report() ack.Report {
	w.t.Helper()
	set, err := w.dir.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := w.message(w.objects[0], set, recordOf(set), "")
	if err != nil {
		w.t.Fatal(err)
	}
	return m.report
}

// uses says that a report acknowledges service account keys, "" for none, and tells of a problem, "" for none.
func (w *plane) uses(accounts, told string) {
	w.t.Helper()
	r := w.report()
	got := ""
	if r.Verified != nil {
		got = r.Verified.Contents["k8s-sa/sa.pub"]
	}
	if got != accounts {
		w.t.Errorf("%.8s is acknowledged, and not %.8s; the agent says %q", got, accounts, r.Problem)
	}
	if told == "" && r.Problem != "" || !strings.Contains(r.Problem, told) {
		w.t.Errorf("the agent says %q, and not %q", r.Problem, told)
	}
}

// tlsSecret holds any certificate.
func tlsSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "any"}, Data: map[string][]byte{"tls.crt": newCA(t, at(), "any").CertPEM()}}
}

func publicOf(keys []pki.PrivateKey) []crypto.PublicKey {
	var out []crypto.PublicKey
	for _, k := range keys {
		out = append(out, k.Public())
	}
	return out
}
