package agent

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/pki"
)

// TestAskByName: a kubeconfig may say by which name the server is verified.
func TestAskByName(t *testing.T) {
	now := at()
	ca := newCA(t, now, "k8s-ca")
	pair, key := issue(t, now, kubeletRequest(), ca)
	a := access{server: apiServer(t, ca, ca, answerAs).URL, serverName: "another.example", ca: ca.CertPEM(), cert: pair.CertPEM(), key: key}
	err := ask(t.Context(), a, kubeletRequest().Subject)
	says(t, err, "another.example")
	if !isWrong(err) {
		t.Errorf("it is no bad news: %v", err)
	}
	a.serverName = "127.0.0.1"
	if err := ask(t.Context(), a, kubeletRequest().Subject); err != nil {
		t.Error(err)
	}
}

// TestAsk asks API servers that answer in each way there is, and tells bad news from no news.
func TestAsk(t *testing.T) {
	now := at()
	ca, other := newCA(t, now, "k8s-ca"), newCA(t, now, "k8s-ca")
	pair, key := issue(t, now, kubeletRequest(), ca)
	status := func(code int) answer { return func(w http.ResponseWriter, _ *x509.Certificate) { w.WriteHeader(code) } }
	as := func(name string, groups ...string) answer {
		return func(w http.ResponseWriter, user *x509.Certificate) {
			user.Subject.CommonName, user.Subject.Organization = name, groups
			answerAs(w, user)
		}
	}
	closed := apiServer(t, ca, ca, answerAs)
	closed.Close()
	refusing := apiServer(t, ca, ca, answerAs)
	refusing.TLS.ClientAuth, refusing.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	for name, c := range map[string]struct {
		server string
		ca     []byte
		wrong  bool
		says   []string
	}{
		"it works":                              {server: apiServer(t, ca, ca, answerAs).URL},
		"401":                                   {apiServer(t, ca, other, answerAs).URL, nil, true, []string{"refuses the certificate (401", "does not trust the CA"}},
		"403":                                   {apiServer(t, ca, ca, status(403)).URL, nil, true, []string{"403", "system:basic-user"}},
		"another user":                          {apiServer(t, ca, ca, as("somebody")).URL, nil, true, []string{`for user "somebody", and not for "system:node:k8s-node1"`}},
		"a group is missing":                    {apiServer(t, ca, ca, as("system:node:k8s-node1")).URL, nil, true, []string{`member of group "system:nodes"`}},
		"the server does not accept the client": {refusing.URL, nil, true, []string{"the TLS handshake with the API server", "remote error: tls"}},
		"the client does not accept the server": {apiServer(t, other, ca, answerAs).URL, nil, true, []string{"the TLS handshake with the API server", "authority"}},
		"a bundle without a certificate":        {closed.URL, []byte("none"), true, []string{"the bundle that verifies the API server"}},
		"nobody listens":                        {closed.URL, nil, false, []string{"the API server cannot be reached", "connection refused"}},
		"it is not ready":                       {apiServer(t, ca, ca, status(503)).URL, nil, false, []string{"status 503"}},
		"it answers nonsense": {apiServer(t, ca, ca, func(w http.ResponseWriter, _ *x509.Certificate) { w.Write([]byte("<html>")) }).URL, nil, false,
			[]string{"read the API server's answer"}},
		"no such name": {"https://no-such-host.invalid:6443", nil, false, []string{`the name "no-such-host.invalid" cannot be resolved`}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ca == nil {
				c.ca = ca.CertPEM()
			}
			a := access{server: c.server, ca: c.ca, cert: pair.CertPEM(), key: key}
			err := ask(t.Context(), a, kubeletRequest().Subject)
			says(t, err, c.says...)
			if isWrong(err) != c.wrong {
				t.Errorf("whether it is bad news: %v (%v)", isWrong(err), err)
			}
			if again := ask(t.Context(), a, kubeletRequest().Subject); err != nil && (again == nil || again.Error() != err.Error()) {
				t.Errorf("the second time it says %v, and not %v: a report would be written again", again, err)
			}
			holdsNoKey(t, err, key)
		})
	}
}

// says expects an error with some words, and none without.
func says(t testing.TB, err error, words ...string) {
	t.Helper()
	if (err == nil) != (len(words) == 0) {
		t.Errorf("the error is %v, and should hold %q", err, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %q, without %q", err, w)
		}
	}
}

func holdsNoKey(t *testing.T, err error, key []byte) {
	t.Helper()
	if err == nil {
		return
	}
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
			t.Errorf("the error holds the key: %v", err)
		}
	}
}

// TestNoRedirect: whatever answers, at the endpoint of a kubeconfig or in the place of the management cluster, the host asks nobody else for it.
func TestNoRedirect(t *testing.T) {
	asked := make(chan string, 10)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Method + " " + r.URL.Path }))
	defer inside.Close()
	there := func(w http.ResponseWriter) {
		w.Header().Set("Location", inside.URL+"/shutdown")
		w.WriteHeader(http.StatusFound)
	}
	ca := newCA(t, at(), "hostile")
	pair, key := issue(t, at(), kubeletRequest(), ca)
	management := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { there(w) }))
	defer management.Close()
	for name, c := range map[string]struct {
		ask  func() error
		says string
	}{
		"an API server": {func() error {
			s := apiServer(t, ca, ca, func(w http.ResponseWriter, _ *x509.Certificate) { there(w) })
			return ask(t.Context(), access{server: s.URL, ca: ca.CertPEM(), cert: pair.CertPEM(), key: key}, pki.SubjectOf(pair.Cert))
		}, "answered with status 302"},
		"the management cluster": {func() error {
			w := newEnv(t)
			file := w.clusters[0].Kubeconfig
			config := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", management.URL)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				return err
			}
			s, err := w.dial(t.Context(), w.clusters[0])
			if err != nil {
				return err
			}
			defer s.cancel()
			_, err = s.secrets.Get(t.Context(), "kubelet-tls", metav1.GetOptions{})
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.ask()
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v", err)
			}
			select {
			case what := <-asked:
				t.Errorf("a service inside was asked: %s", what)
			default:
			}
		})
	}
}

// TestServed looks at what an API server serves.
func TestServed(t *testing.T) {
	now := at()
	ca := newCA(t, now, "k8s-ca")
	s := apiServer(t, ca, ca, answerAs)
	leaf, err := x509.ParseCertificate(s.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := issue(t, now, kubeletRequest(), ca)
	says(t, served(t.Context(), s.URL, ca.CertPEM(), leaf, []*x509.Certificate{ca.Cert}))
	err = served(t.Context(), s.URL, ca.CertPEM(), stranger.Cert, nil)
	says(t, err, "serves the certificate "+pki.SerialOf(leaf), pki.SerialOf(stranger.Cert)+", which is installed")
	if !isWrong(err) {
		t.Error("it is bad news")
	}
	err = served(t.Context(), s.URL, newCA(t, now, "k8s-ca").CertPEM(), leaf, nil)
	says(t, err, "the TLS handshake")
	if !isWrong(err) {
		t.Error("it is bad news")
	}
	err = served(t.Context(), s.URL, ca.CertPEM(), leaf, []*x509.Certificate{ca.Cert, newCA(t, now, "k8s-ca g2").Cert})
	says(t, err, `does not accept clients of the CA "CN=k8s-ca g2"`)
	if !isWrong(err) {
		t.Error("it is bad news")
	}
	s.Close()
	err = served(t.Context(), s.URL, ca.CertPEM(), leaf, []*x509.Certificate{ca.Cert})
	says(t, err, "cannot be reached")
	if isWrong(err) {
		t.Error("it is no news")
	}
}

// TestLasting: an expired certificate is told without the time of the question.
func TestLasting(t *testing.T) {
	now := at()
	ca := newCA(t, now.Add(-48*time.Hour), "k8s-ca")
	pair, _ := issue(t, now.Add(-24*time.Hour), kubeletRequest(), ca)
	err := lasting(pair.Verify(now, []*x509.Certificate{ca.Cert}))
	says(t, err, `the certificate of "CN=system:node:k8s-node1, O=system:nodes" is valid from`, ", and not now")
	if next := lasting(pair.Verify(now.Add(time.Hour), []*x509.Certificate{ca.Cert})); next.Error() != err.Error() {
		t.Errorf("an hour later it says %v, and not %v", next, err)
	}
	near := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 54321}, Addr: &net.TCPAddr{Port: 6443}, Err: net.ErrClosed}
	if got := lasting(near).Error(); strings.Contains(got, "54321") || !strings.Contains(got, "6443") {
		t.Errorf("it says %q", got)
	}
}
