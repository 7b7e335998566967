package probe

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// atLoopback is a Dialer for servers of these tests.
var atLoopback = Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}

var ecdsa256 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}

func newCA(t testing.TB, name string) pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: ecdsa256, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newLeaf(t testing.TB, ca pki.CA, key pki.KeySpec) pki.Leaf {
	t.Helper()
	leaf, err := pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-master"}, Usages: []pki.Usage{pki.ServerAuth}, Key: key, Validity: time.Hour,
	}, ca)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// config is how kube-apiserver is set up: it requests a client certificate and requires none.
func config(leaf pki.Leaf, clientCAs ...pki.CA) *tls.Config {
	pool := x509.NewCertPool()
	for _, ca := range clientCAs {
		pool.AddCert(ca.Cert)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Cert.Raw}, PrivateKey: leaf.Key.Signer()}},
		ClientAuth:   tls.RequestClientCert, ClientCAs: pool,
	}
}

// subjects are the DER subjects of CAs as a Handshake has them.
func subjects(cas ...pki.CA) [][]byte {
	var out [][]byte
	for _, ca := range cas {
		out = append(out, ca.Cert.RawSubject)
	}
	slices.SortFunc(out, bytes.Compare)
	return out
}

// visit is what a server has seen of one connection.
type visit struct {
	state     tls.ConnectionState
	handshake error
	sent      []byte // by the client, after the handshake
	end       error  // how the client ended the connection; nil: by saying so
}

// server is a TLS server on loopback whose configuration can be replaced.
type server struct {
	address string
	visits  chan visit // one for each connection, as long as somebody reads them

	mu  sync.Mutex
	now *tls.Config
}

// serve listens on an address, as in "127.0.0.1:0", until the test ends.
func serve(t testing.TB, address string, c *tls.Config) *server {
	t.Helper()
	s := &server{visits: make(chan visit, 100), now: c}
	s.address = accept(t, address, func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.now, nil
		}})
		defer conn.Close()
		v := visit{handshake: conn.Handshake()}
		v.state = conn.ConnectionState()
		if v.handshake == nil {
			v.sent, v.end = io.ReadAll(conn)
		}
		select {
		case s.visits <- v:
		default:
		}
	})
	return s
}

// reload replaces the configuration, for connections to come.
func (s *server) reload(c *tls.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
}

// accept listens until the test ends, and hands each connection to a goroutine of its own.
func accept(t testing.TB, address string, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Wait()
	})
	return l.Addr().String()
}
