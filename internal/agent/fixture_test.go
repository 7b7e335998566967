package agent

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/pki"
)

var ecdsa256 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}

func newCA(t testing.TB, now time.Time, name string) pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: ecdsa256, Validity: 8760 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// kubeletRequest is what the kubelet of k8s-node1 has to have.
func kubeletRequest(mods ...func(*pki.CertificateSpec)) pki.CertificateSpec {
	r := pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}},
		Usages:  []pki.Usage{pki.ClientAuth}, Key: ecdsa256, Validity: time.Hour,
	}
	for _, mod := range mods {
		mod(&r)
	}
	return r
}

func issue(t testing.TB, now time.Time, r pki.CertificateSpec, ca pki.CA) (pki.Leaf, []byte) {
	t.Helper()
	pair, err := pki.Issue(now, r, ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return pair, key
}

// quick is a clock that stands still, and whose timers end at once.
type quick struct{ *testclock.FakeClock }

func (quick) NewTimer(time.Duration) clock.Timer { return clock.RealClock{}.NewTimer(0) }

// at is when tests happen: certificates on a wire are verified by the real clock.
func at() time.Time { return time.Now().UTC().Truncate(time.Second) }

// logs are what agents have logged. Several goroutines do.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *logs) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

// String implements fmt.Stringer.
func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// env is an agent without a management cluster, and the API server that its credentials are for.
type env struct {
	*Agent
	t      *testing.T
	ca     pki.CA
	server *httptest.Server
	now    *testclock.FakeClock
	logs   *logs
	writes int
}

// kubeletConfig is a host that has a kubelet, and a command that reloads it.
func kubeletConfig(dir string, mods ...func(*Config)) Config {
	c := Config{
		APIVersion: ConfigVersion, Kind: ConfigKind, Host: "k8s-node1", Namespace: "prod", DeliveryKeys: []string{operatorPublic()},
		ManagementClusters: []ManagementCluster{{Name: "management", Kubeconfig: filepath.Join(dir, "kubeconfig")}},
		Directory:          filepath.Join(dir, "kubernetes"), StateDirectory: filepath.Join(dir, "state"),
		Credentials: []Credential{{Name: "kubelet", Role: "Kubelet", SecretName: "kubelet-tls", Kubeconfig: true}},
		Components:  []Component{{Name: "kubelet", When: Always, Command: []string{"reload-kubelet"}}},
	}
	for _, mod := range mods {
		mod(&c)
	}
	c.complete()
	return c
}

func newEnv(t *testing.T, mods ...func(*Config)) *env {
	t.Helper()
	w := &env{t: t, ca: newCA(t, at(), "k8s-ca"), now: testclock.NewFakeClock(at()), logs: &logs{}}
	w.server = apiServer(t, w.ca, w.ca, answerAs)
	c := kubeletConfig(t.TempDir(), mods...)
	if problems := c.problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	w.Agent = w.restarted(c)
	return w
}

// restarted is an agent that remembers nothing but what is on the disk.
func (w *env) restarted(c Config) *Agent {
	w.t.Helper()
	a, err := New(c, Options{Clock: quick{w.now}, Log: w.logger()})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.Agent != nil {
		a.store, a.run = w.store, w.run
	}
	return a
}

func (w *env) logger() logr.Logger {
	return funcr.New(func(_, args string) { fmt.Fprintln(w.logs, args) }, funcr.Options{})
}

// put enters the Secret of a credential, with a certificate for a request.
func (w *env) put(r pki.CertificateSpec) pki.Leaf {
	w.t.Helper()
	pair, key := issue(w.t, at(), r, w.ca)
	w.putPair(pair, key)
	return pair
}

func (w *env) putPair(pair pki.Leaf, key []byte) {
	for name, s := range secrets(w.t, pair, key, w.ca.CertPEM(), w.server.URL) {
		w.writes++
		s.ResourceVersion = fmt.Sprint(w.writes)
		w.store.put(name, s, "")
	}
}

// secrets are those that a kubelet's credential has for its agent.
func secrets(t testing.TB, pair pki.Leaf, key, bundle []byte, server string) map[string]*corev1.Secret {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kubelet-tls"}, Data: map[string][]byte{
		"tls.crt": pair.CertPEM(), "tls.key": key, "ca.crt": bundle, "apiserver-ca.crt": bundle,
	}}
	sign(t, s, server)
	return map[string]*corev1.Secret{"kubelet-tls": s}
}

// sign signs a Secret that holds the first revision of its bundles.
func sign(t testing.TB, s *corev1.Secret, server string) {
	t.Helper()
	first := map[string]int64{"k8s": 1}
	signed(t, s, reaching(server), trusting(map[string]map[string]int64{bundleKey: first, serverKey: first}))
}

// steps goes on until there is nothing left to be done now.
func (w *env) steps() time.Time {
	w.t.Helper()
	return w.nextStep(w.t.Context(), nil)
}

// rec is what lies beside the files.
func (w *env) rec() (record, []byte) {
	w.t.Helper()
	set, err := w.dir.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range set.Files {
		if f.Path == "pki/kubelet-client.crt" {
			return recordOf(set), f.Data
		}
	}
	return recordOf(set), nil
}

// told is what the agent would report of its kubelet.
func (w *env) told() string {
	rec, _ := w.rec()
	return w.problem(w.objects[0], rec)
}

type answer func(w http.ResponseWriter, user *x509.Certificate)

// answerAs says who a client is, by its certificate.
func answerAs(w http.ResponseWriter, user *x509.Certificate) {
	review := authenticationv1.SelfSubjectReview{}
	review.Status.UserInfo = authenticationv1.UserInfo{
		Username: user.Subject.CommonName, Groups: append([]string{"system:authenticated"}, user.Subject.Organization...),
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	if err := json.NewEncoder(w).Encode(review); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// apiServer answers SelfSubjectReviews, with a certificate of one CA, to clients of another, as kube-apiserver does.
func apiServer(t *testing.T, serving, clients pki.CA, say answer) *httptest.Server {
	t.Helper()
	sans, err := pki.NewSANs(nil, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	pair, key := issue(t, at(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-master"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: time.Hour,
	}, serving)
	cert, err := tls.X509KeyPair(pair.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.TLS.PeerCertificates[0]
		roots := x509.NewCertPool()
		roots.AddCert(clients.Cert)
		_, err := user.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/selfsubjectreviews" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		say(w, user)
	}))
	accepted := x509.NewCertPool()
	accepted.AddCert(clients.Cert)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: accepted}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}
