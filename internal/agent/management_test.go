package agent

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/pki"
)

const agentSubject = "system:serviceaccount:clusterpki-agents:k8s-node1.prod"

// jwt is a token that says who it is of, and for how long; nobody has signed it.
func jwt(subject string, life lifetime) string {
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, subject, life.issued.Unix(), life.expires.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmVk"
}

// management is a management cluster, as far as an agent asks it.
type management struct {
	*httptest.Server
	ca    []byte
	clock *testclock.FakeClock

	mu      sync.Mutex
	away    bool            // nobody answers
	empty   bool            // it holds nothing for the host
	grants  time.Duration   // how long a token is granted, 0: it makes none
	refuses map[string]bool // tokens that it does not accept
	issued  []string        // the tokens that it has made
	asked   []int64         // for how many seconds
	shown   []string        // the tokens that it was shown, each once in a row
	reads   int             // how often a Secret was read
}

func newManagement(t *testing.T, clock *testclock.FakeClock) *management {
	t.Helper()
	ca := newCA(t, at(), "management-ca")
	sans, err := pki.NewSANs(nil, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	pair, key := issue(t, at(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "management"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: time.Hour,
	}, ca)
	served, err := tls.X509KeyPair(pair.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	m := &management{clock: clock, ca: ca.CertPEM(), grants: 720 * time.Hour, refuses: map[string]bool{}}
	m.Server = httptest.NewUnstartedServer(m)
	m.TLS = &tls.Config{Certificates: []tls.Certificate{served}, MinVersion: tls.VersionTLS12}
	m.StartTLS()
	t.Cleanup(m.Close)
	return m
}

// ServeHTTP implements http.Handler.
func (m *management) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.Header().Set("Date", m.clock.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if len(m.shown) == 0 || m.shown[len(m.shown)-1] != token {
		m.shown = append(m.shown, token)
	}
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reason})
	}
	switch {
	case m.away:
		w.WriteHeader(http.StatusServiceUnavailable)
	case m.refuses[token]:
		status(http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	case r.Method == http.MethodPost && r.URL.Path == "/api/v1/namespaces/clusterpki-agents/serviceaccounts/k8s-node1.prod/token":
		m.makeToken(w, r, status)
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") == "" && r.URL.Path == "/api/v1/namespaces/prod/secrets/kubelet-tls" && !m.empty:
		m.reads++
		_ = json.NewEncoder(w).Encode(corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "kubelet-tls", ResourceVersion: "1", Annotations: map[string]string{"from": m.URL}},
		})
	default:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

func (m *management) makeToken(w http.ResponseWriter, r *http.Request, status func(int, metav1.StatusReason)) {
	var ask authenticationv1.TokenRequest
	if m.grants == 0 || json.NewDecoder(r.Body).Decode(&ask) != nil {
		status(http.StatusForbidden, metav1.StatusReasonForbidden)
		return
	}
	m.asked = append(m.asked, *ask.Spec.ExpirationSeconds)
	now := m.clock.Now().Truncate(time.Second)
	ask.Status.ExpirationTimestamp = metav1.NewTime(now.Add(m.grants))
	ask.Status.Token = jwt(agentSubject, lifetime{now, now.Add(m.grants)})
	m.issued = append(m.issued, ask.Status.Token)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(ask)
}

// set changes it.
func (m *management) set(change func(*management)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

// last is the token that it was shown last.
func (m *management) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.shown) == 0 {
		return ""
	}
	return m.shown[len(m.shown)-1]
}

// wasShown says whether it was shown a token.
func (m *management) wasShown(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.shown, token)
}

func (m *management) made() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.issued...)
}

// kubeconfig leads to it with a token.
func (m *management) kubeconfig(t *testing.T, file, token string) {
	t.Helper()
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: a, user: {token: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n", m.URL, base64.StdEncoding.EncodeToString(m.ca), token)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
