package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// TestDial sees what a server has loaded, whichever version, key and policy it has, and leaves no trace.
func TestDial(t *testing.T) {
	ca, other, front := newCA(t, "k8s-ca"), newCA(t, "k8s-ca g2"), newCA(t, "front-proxy-ca")
	tls12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	tls13 := func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }
	auth := func(a tls.ClientAuthType) func(*tls.Config) { return func(c *tls.Config) { c.ClientAuth = a } }
	rsa, ed25519 := pki.KeySpec{Algorithm: pki.RSA, Size: 2048}, pki.KeySpec{Algorithm: pki.Ed25519}
	for name, row := range map[string]struct {
		version uint16
		key     pki.KeySpec
		mods    []func(*tls.Config)
	}{
		"TLS 1.2":                          {tls.VersionTLS12, ecdsa256, []func(*tls.Config){tls12}},
		"TLS 1.3":                          {tls.VersionTLS13, ecdsa256, []func(*tls.Config){tls13}},
		"TLS 1.2, RSA":                     {tls.VersionTLS12, rsa, []func(*tls.Config){tls12}},
		"TLS 1.3, RSA":                     {tls.VersionTLS13, rsa, []func(*tls.Config){tls13}},
		"TLS 1.2, Ed25519":                 {tls.VersionTLS12, ed25519, []func(*tls.Config){tls12}},
		"TLS 1.3, Ed25519":                 {tls.VersionTLS13, ed25519, []func(*tls.Config){tls13}},
		"TLS 1.2, verified if given":       {tls.VersionTLS12, ecdsa256, []func(*tls.Config){tls12, auth(tls.VerifyClientCertIfGiven)}},
		"TLS 1.3, verified if given":       {tls.VersionTLS13, ecdsa256, []func(*tls.Config){tls13, auth(tls.VerifyClientCertIfGiven)}},
		"the version is theirs to choose":  {tls.VersionTLS13, ecdsa256, nil},
		"a version is theirs to restrict":  {tls.VersionTLS12, ecdsa256, []func(*tls.Config){tls12}},
		"the protocol is of no importance": {tls.VersionTLS13, ecdsa256, []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"x"} }}},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := newLeaf(t, ca, row.key)
			c := config(leaf, other, front, ca)
			for _, mod := range row.mods {
				mod(c)
			}
			s := serve(t, "127.0.0.1:0", c)
			for range 2 { // nothing is resumed
				got, err := atLoopback.Dial(t.Context(), s.address, "")
				want := Handshake{LeafSHA256: pki.FingerprintOf(leaf.Cert), Requested: true, ClientCAs: subjects(ca, other, front)}
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("it saw %+v, %v\nnot %+v", got, err, want)
				}
				v := <-s.visits
				if v.handshake != nil || v.end != nil || len(v.sent) > 0 {
					t.Errorf("the server saw the handshake end with %v, then %q, then %v", v.handshake, v.sent, v.end)
				}
				if v.state.Version != row.version || v.state.DidResume || len(v.state.PeerCertificates) > 0 || v.state.ServerName != "" {
					t.Errorf("the server saw %s, resumed %v, %d certificates, SNI %q", tls.VersionName(v.state.Version),
						v.state.DidResume, len(v.state.PeerCertificates), v.state.ServerName)
				}
			}
		})
	}
}

// TestDialAtOthers meets servers that do not ask as kube-apiserver does.
func TestDialAtOthers(t *testing.T) {
	ca := newCA(t, "k8s-ca")
	leaf := newLeaf(t, ca, ecdsa256)
	handshake := func(requested bool, cas ...pki.CA) Handshake {
		return Handshake{LeafSHA256: pki.FingerprintOf(leaf.Cert), Requested: requested, ClientCAs: subjects(cas...)}
	}
	for name, row := range map[string]struct {
		version uint16
		auth    tls.ClientAuthType
		cas     []pki.CA
		want    Handshake
		err     string
	}{
		"TLS 1.2, no client certificate wanted": {tls.VersionTLS12, tls.NoClientCert, []pki.CA{ca}, handshake(false), ""},
		"TLS 1.3, no client certificate wanted": {tls.VersionTLS13, tls.NoClientCert, []pki.CA{ca}, handshake(false), ""},
		"TLS 1.2, of any CA":                    {tls.VersionTLS12, tls.RequestClientCert, nil, handshake(true), ""},
		"TLS 1.3, of any CA":                    {tls.VersionTLS13, tls.RequestClientCert, nil, handshake(true), ""},
		"a CA twice":                            {tls.VersionTLS13, tls.RequestClientCert, []pki.CA{ca, newCA(t, "k8s-ca")}, handshake(true, ca), ""},
		"TLS 1.2, required":                     {tls.VersionTLS12, tls.RequireAndVerifyClientCert, []pki.CA{ca}, Handshake{}, "tls: handshake failure"},
		"TLS 1.3, required":                     {tls.VersionTLS13, tls.RequireAndVerifyClientCert, []pki.CA{ca}, handshake(true, ca), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(leaf, row.cas...)
			c.MinVersion, c.MaxVersion, c.ClientAuth = row.version, row.version, row.auth
			got, err := atLoopback.Dial(t.Context(), serve(t, "127.0.0.1:0", c).address, "")
			if text(err) != row.err || !reflect.DeepEqual(got, row.want) {
				t.Errorf("it saw %+v, %v\nnot %+v, %v", got, err, row.want, row.err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestDialWantsTheKey believes no certificate without its key: whoever stands in between has only the former.
func TestDialWantsTheKey(t *testing.T) {
	ca := newCA(t, "k8s-ca")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := config(newLeaf(t, ca, ecdsa256), ca)
		c.MinVersion, c.MaxVersion = version, version
		c.Certificates[0].PrivateKey = newLeaf(t, ca, ecdsa256).Key.Signer()
		got, err := atLoopback.Dial(t.Context(), serve(t, "127.0.0.1:0", c).address, "")
		if err == nil || !reflect.DeepEqual(got, Handshake{}) {
			t.Errorf("%s: it saw %+v", tls.VersionName(version), got)
		}
	}
}

// TestDialAfterReload sees what a server has loaded now, not what it had.
func TestDialAfterReload(t *testing.T) {
	old, next := newCA(t, "k8s-ca"), newCA(t, "k8s-ca g2")
	before, after := newLeaf(t, old, ecdsa256), newLeaf(t, next, ecdsa256)
	s := serve(t, "127.0.0.1:0", config(before, old))
	for _, step := range []struct {
		leaf pki.Leaf
		cas  []pki.CA
	}{{before, []pki.CA{old}}, {before, []pki.CA{old, next}}, {after, []pki.CA{old, next}}, {after, []pki.CA{next}}} {
		s.reload(config(step.leaf, step.cas...))
		got, err := atLoopback.Dial(t.Context(), s.address, "")
		want := Handshake{LeafSHA256: pki.FingerprintOf(step.leaf.Cert), Requested: true, ClientCAs: subjects(step.cas...)}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("it saw %+v, %v\nnot %+v", got, err, want)
		}
	}
}

// TestDialAddresses takes every form of an address, and sends the name that is asked for.
func TestDialAddresses(t *testing.T) {
	ca := newCA(t, "k8s-ca")
	c := config(newLeaf(t, ca, ecdsa256), ca)
	v4 := serve(t, "127.0.0.1:0", c)
	_, port, _ := net.SplitHostPort(v4.address)
	mapped := "[::ffff:127.0.0.1]:" + port
	v6, v6Address := v4, mapped // where the kernel has no IPv6
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		v6 = serve(t, "[::1]:0", c)
		v6Address = v6.address
	}
	for _, row := range []struct {
		address, serverName, sni string
		at                       *server
	}{
		{v4.address, "", "", v4},
		{v4.address, "k8s-master", "k8s-master", v4},
		{mapped, "", "", v4},
		{v6Address, "", "", v6},
		{v6Address, "k8s-master", "k8s-master", v6},
		{"localhost:" + port, "", "localhost", v4},
		{"localhost:" + port, "k8s-master", "k8s-master", v4},
	} {
		got, err := atLoopback.Dial(t.Context(), row.address, row.serverName)
		if err != nil || len(got.ClientCAs) != 1 {
			t.Errorf("%s: it saw %+v, %v", row.address, got, err)
			continue
		}
		if v := <-row.at.visits; v.state.ServerName != row.sni {
			t.Errorf("%s: the server was asked for %q, not %q", row.address, v.state.ServerName, row.sni)
		}
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestDialErrors says what is wrong in words that stay the same from one connection to the next.
func TestDialErrors(t *testing.T) {
	ca := newCA(t, "k8s-ca")
	old := config(newLeaf(t, ca, ecdsa256), ca)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for name, row := range map[string]struct{ address, want string }{
		"nobody listens":     {closedPort(t), "connection refused"},
		"it hangs up":        {accept(t, "127.0.0.1:0", func(net.Conn) {}), "the connection was closed during the handshake"},
		"it resets":          {accept(t, "127.0.0.1:0", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }), "the connection was closed during the handshake"},
		"it speaks HTTP":     {accept(t, "127.0.0.1:0", answer("HTTP/1.0 400 Bad Request\r\n\r\n")), "tls: first record does not look like a TLS handshake"},
		"it has only TLS1.1": {serve(t, "127.0.0.1:0", old).address, "tls: protocol version not supported"},
		"no port":            {"127.0.0.1", "address 127.0.0.1: missing port in address"},
	} {
		t.Run(name, func(t *testing.T) {
			var texts []string
			for range 2 {
				got, err := atLoopback.Dial(t.Context(), row.address, "")
				if err == nil || !reflect.DeepEqual(got, Handshake{}) {
					t.Fatalf("it saw %+v, %v", got, err)
				}
				texts = append(texts, err.Error())
			}
			if texts[0] != row.want || texts[1] != row.want {
				t.Errorf("it said %q, not %q", texts, row.want)
			}
		})
	}
}

func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, text)
		io.Copy(io.Discard, c)
	}
}

// TestErrorTexts has the errors that loopback does not bring about.
func TestErrorTexts(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 49152}
	remote := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 6443}
	for want, err := range map[string]error{
		"no route to host":      &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: syscall.EHOSTUNREACH},
		"there is no such host": &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", Server: "10.0.0.53:53", IsNotFound: true}},
		"the name does not resolve": &net.OpError{Op: "dial", Err: &net.DNSError{
			Err: "read udp 10.0.0.1:49152->10.0.0.53:53: i/o timeout", Name: "x", IsTimeout: true,
		}},
		"no answer in time":            fmt.Errorf("handshake: %w", context.DeadlineExceeded),
		"use of closed file":           &net.OpError{Op: "read", Source: local, Addr: remote, Err: errors.New("use of closed file")},
		"tls: handshake failure":       &net.OpError{Op: "remote error", Err: tls.AlertError(40)},
		strings.Repeat("x", 199) + "…": errors.New(strings.Repeat("x", 199) + "é and more"),
		"a ? b":                        errors.New("a \xff b"),
		"the connection was closed during the handshake": &net.OpError{Op: "read", Source: local, Addr: remote, Err: syscall.ECONNRESET},
	} {
		if got := (&dialError{err}).Error(); got != want {
			t.Errorf("%v: it says %q, not %q", err, got, want)
		}
	}
	slow := &net.OpError{Op: "dial", Net: "tcp", Source: local, Addr: remote, Err: syscall.ETIMEDOUT}
	if got := (&dialError{slow}).Error(); got != "no answer in time" {
		t.Errorf("it says %q", got)
	}
}

// mute is an address that accepts connections and never answers.
func mute(t *testing.T) string {
	t.Helper()
	return accept(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(io.Discard, c) })
}

// TestDialGivesUp ends by itself where nobody answers: without a timeout of its own this test would never end.
func TestDialGivesUp(t *testing.T) {
	t.Parallel() // it waits, for as long as Timeout
	if _, err := atLoopback.Dial(context.Background(), mute(t), ""); err == nil || err.Error() != "no answer in time" {
		t.Errorf("it said %v", err)
	}
}

// TestDialEndsWithItsContext ends sooner when it is told to.
func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := accept(t, "127.0.0.1:0", func(c net.Conn) {
		c.Read(make([]byte, 1))
		cancel() // in mid-handshake
		io.Copy(io.Discard, c)
	})
	if _, err := atLoopback.Dial(ctx, address, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("it said %v", err)
	}
}
