// Package probe observes API servers from outside: which certificate each serves, and the clients of which
// CAs it accepts, in this moment. A TLS handshake says both, so it needs no credential and sends no request.
package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// Timeout bounds one attempt: resolving, connecting and the handshake together.
const Timeout = 5 * time.Second

// Handshake is what one handshake showed.
type Handshake struct {
	// LeafSHA256 is the fingerprint of the serving certificate, as pki.FingerprintOf writes it. The server
	// has proved that it holds the key.
	LeafSHA256 string
	// Requested says whether the server asked for a client certificate. Where it did not, ClientCAs says nothing.
	Requested bool
	// ClientCAs are the subjects (DER) of the CAs whose clients the server accepts, sorted, each once.
	// kube-apiserver names those of --client-ca-file and of --requestheader-client-ca-file in one list.
	ClientCAs [][]byte
}

// Dial makes one handshake with an address ("host:port") and closes the connection. It takes as long as
// Timeout at most. serverName is what to send as SNI; "" sends the host of the address, if that is a name.
//
// The text of an error is the same each time for the same cause: it names neither times nor ephemeral ports.
//
// Under TLS 1.2 a server that requires a client certificate ends the handshake, which is an error here.
// kube-apiserver only requests one.
func (d Dialer) Dial(ctx context.Context, address, serverName string) (Handshake, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var s Handshake
	dialer := tls.Dialer{NetDialer: &net.Dialer{Control: d.control}, Config: &tls.Config{
		// There is nothing to verify: the probe reports what is served, expired or by an unknown CA as it may
		// be, sends nothing, and its caller compares.
		InsecureSkipVerify: true, //nolint:gosec // G402: see above
		MinVersion:         tls.VersionTLS12,
		ServerName:         serverName,
		// No ClientSessionCache: a resumed session would ask for no certificate and show none.
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s.Requested, s.ClientCAs = true, sortedSubjects(r.AcceptableCAs)
			return &tls.Certificate{}, nil // which is none
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return Handshake{}, &dialError{err}
	}
	// What was to be seen has been seen: a server that fails to take its leave is no problem.
	defer conn.Close() //nolint:errcheck // see above
	served, ok := conn.(*tls.Conn)
	if !ok {
		return Handshake{}, errors.New("not a TLS connection")
	}
	s.LeafSHA256 = pki.FingerprintOf(served.ConnectionState().PeerCertificates[0]) // a client always has one
	return s, nil
}

func sortedSubjects(subjects [][]byte) [][]byte {
	return slices.CompactFunc(slices.SortedFunc(slices.Values(subjects), bytes.Compare), bytes.Equal)
}

// dialError gives an error a text that stays the same for the same cause.
type dialError struct{ err error }

func (e *dialError) Unwrap() error { return e.err }

func (e *dialError) Error() string {
	if refused, ok := errors.AsType[*RefusedError](e.err); ok {
		return refused.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](e.err); ok {
		if dns.IsNotFound {
			return "there is no such host"
		}
		return "the name does not resolve" // its text names the resolver and a port
	}
	if slow, ok := errors.AsType[net.Error](e.err); ok && slow.Timeout() {
		return "no answer in time"
	}
	if errors.Is(e.err, io.EOF) || errors.Is(e.err, syscall.ECONNRESET) || errors.Is(e.err, syscall.EPIPE) {
		return "the connection was closed during the handshake"
	}
	if errno, ok := errors.AsType[syscall.Errno](e.err); ok {
		return errno.Error()
	}
	err := e.err
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // its text names a port; what it wraps may be an alert of the server
	}
	return shortened(err.Error())
}

// maxReason is how many bytes of an error are worth reading. Those about a certificate quote the server.
const maxReason = 200

func shortened(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
