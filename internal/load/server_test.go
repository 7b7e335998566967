package load

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

func TestMain(m *testing.M) {
	klog.LogToStderr(false) // client-go's complaints are part of the tests
	klog.SetOutput(io.Discard)
	transport.CertCallbackRefreshDuration = 200 * time.Millisecond // client-go looks for another certificate as often
	os.Exit(m.Run())
}

var ecdsa = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newCA(name string) pki.CA {
	return must(pki.SelfSign(time.Now(), pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: ecdsa, Validity: time.Hour}))
}

// server is an API server as far as the load sees one: it asks for a certificate, and answers 401 without a good
// one. How it misbehaves can be changed while it runs.
type server struct {
	url   string
	dir   string // the client's host
	ca    pki.CA
	mode  atomic.Value // of string
	tls   atomic.Pointer[tls.Config]
	trust atomic.Pointer[x509.CertPool] // of clients
	hold  atomic.Value                  // the serial number of a certificate, as a string, whose held requests get no answer
	held  atomic.Bool                   // whether there was such a request
	token atomic.Value                  // that it accepts beside certificates, as a string; "" for none
	// closes ends all connections, as a server that ends does.
	closes func()

	mu      sync.Mutex
	serials map[string]int // of client certificates, and how often they were shown
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{ca: newCA("ca"), dir: filepath.Join(t.TempDir(), "host"), serials: map[string]int{}}
	s.mode.Store("")
	s.hold.Store("")
	s.token.Store("")
	s.trustClientsOf(s.ca)
	s.serve(s.ca)
	h := httptest.NewUnstartedServer(s)
	h.EnableHTTP2 = true
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // failures are part of the test
	h.TLS = &tls.Config{
		NextProtos: []string{"h2", "http/1.1"}, Certificates: s.tls.Load().Certificates,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls.Load(), nil },
	}
	h.StartTLS()
	s.closes = h.CloseClientConnections
	t.Cleanup(h.Close)
	t.Cleanup(h.CloseClientConnections)
	s.url = h.URL
	s.deliver(t, s.ca, s.ca)
	return s
}

// serve has it present a certificate of a CA.
func (s *server) serve(ca pki.CA) {
	leaf := must(pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "server"}, SANs: must(pki.NewSANs(nil, []string{"127.0.0.1"})), Usages: []pki.Usage{pki.ServerAuth},
		Key: ecdsa, Validity: time.Hour,
	}, ca))
	s.tls.Store(&tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair(leaf.CertPEM(), must(leaf.Key.Reveal())))},
		ClientAuth:   tls.RequestClientCert, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})
}

func (s *server) trustClientsOf(cas ...pki.CA) {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert(ca.Cert)
	}
	s.trust.Store(pool)
}

// deliver puts the files of the client on its host: a new certificate of a CA, and a bundle of one CA.
func (s *server) deliver(t *testing.T, signer, trusted pki.CA) pki.Leaf {
	t.Helper()
	leaf := must(pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "client"}, Usages: []pki.Usage{pki.ClientAuth}, Key: ecdsa, Validity: time.Hour,
	}, signer))
	at := func(name string) kubeconfig.Material { return kubeconfig.Material{Path: filepath.Join(s.dir, name)} }
	text := must(kubeconfig.Render(kubeconfig.Params{
		Server: s.url, ClusterName: "c", ContextName: "c", UserName: "u", CA: at("pki/ca.crt"), Certificate: at("pki/u.crt"), Key: at("pki/u.key"),
	}))
	files := []hostdir.File{
		{Path: "u.conf", Mode: 0o600, Data: text}, {Path: "pki/ca.crt", Mode: 0o644, Data: trusted.CertPEM()},
		{Path: "pki/u.crt", Mode: 0o644, Data: leaf.CertPEM()}, {Path: "pki/u.key", Mode: 0o600, Data: must(leaf.Key.Reveal())},
	}
	if _, err := hostdir.New(s.dir, hostdir.Options{}).Install(files, nil); err != nil {
		t.Fatal(err)
	}
	return leaf
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.authenticates(r) {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	mode, _ := s.mode.Load().(string)
	if r.URL.Query().Get("watch") == "true" {
		s.watch(w, r, mode)
		return
	}
	if r.ProtoMajor == 2 && len(r.TLS.PeerCertificates) > 0 && s.hold.Load() == pki.SerialOf(r.TLS.PeerCertificates[0]) {
		s.held.Store(true)
		<-r.Context().Done()
	}
	switch mode {
	case "forbidden":
		http.Error(w, "Forbidden", http.StatusForbidden)
	case "error":
		http.Error(w, "oh", http.StatusInternalServerError)
	case "cut":
		panic(http.ErrAbortHandler) // ends the connection, or with HTTP/2 the stream
	case "silent":
		<-r.Context().Done()
	case "empty":
	case "half":
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "{")
	default:
		fmt.Fprint(w, `{"kind":"Thing"}`)
	}
}

func (s *server) authenticates(r *http.Request) bool {
	if token := s.token.Load(); token != "" && r.Header.Get("Authorization") == fmt.Sprintf("Bearer %s", token) {
		return true
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	leaf := r.TLS.PeerCertificates[0]
	s.mu.Lock()
	s.serials[pki.SerialOf(leaf)]++
	s.mu.Unlock()
	_, err := leaf.Verify(x509.VerifyOptions{Roots: s.trust.Load(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// shown is how often a certificate was.
func (s *server) shown(leaf pki.Leaf) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serials[pki.SerialOf(leaf.Cert)]
}

// watch sends a bookmark every 20 ms, until it is told to misbehave.
func (s *server) watch(w http.ResponseWriter, r *http.Request, before string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		mode, _ := s.mode.Load().(string)
		switch {
		case mode == "watch ends" && before != mode:
			return
		case mode == "watch cut":
			panic(http.ErrAbortHandler)
		case mode == "watch error":
			fmt.Fprintln(w, `{"type":"ERROR","object":{"code":410}}`)
		case mode != "watch silent":
			fmt.Fprintln(w, `{"type":"BOOKMARK"}`)
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// start puts the server under load, at a pace that a busy machine can keep.
func (s *server) start(t *testing.T, patience ...func(*Options)) *Load {
	t.Helper()
	o := Options{Every: 20 * time.Millisecond, HeldEvery: 20 * time.Millisecond, Timeout: time.Minute, Silence: time.Minute, Clock: clock.RealClock{}}
	for _, p := range patience {
		p(&o)
	}
	l, err := Start(t.Context(), []Identity{{Name: "u", Kubeconfig: filepath.Join(s.dir, "u.conf"), Get: "/things/a", Watch: "/things"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	eventually(t, l, "both kinds are answered", func(fresh, held Row) bool { return fresh.Requests > 5 && held.Requests > 5 })
	if n := l.Total().Failures(); n > 0 {
		t.Fatalf("%d requests to a healthy server failed:%s", n, few(l))
	}
	return l
}

// few are the most frequent failures.
func few(l *Load) string { return fmt.Sprintf("\n%+v", l.Reasons()[:min(3, len(l.Reasons()))]) }

// eventually waits for the counts to say something.
func eventually(t *testing.T, l *Load, what string, ok func(fresh, held Row) bool) {
	t.Helper()
	for range 3000 {
		if rows := l.Rows(); ok(rows[0], rows[1]) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("not in time: %s; the counts are %+v%s", what, l.Rows(), few(l))
}
