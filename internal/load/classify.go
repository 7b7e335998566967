package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
)

// Outcome is how a request ended.
type Outcome int

// The outcomes.
const (
	Answered Outcome = iota // with a status of 2xx and a whole body
	Refused                 // one of the two sides did not accept the other: TLS, 401 or 403
	CutOff                  // the connection was closed on this side of it
	Failed                  // anything else: another status, no connection, no answer in time, half an answer
)

func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case Refused:
		return "TLS or authentication"
	case CutOff:
		return "cut off"
	default:
		return "other"
	}
}

// statusError is an answer that is not 2xx.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("answered %d %s: %s", e.code, http.StatusText(e.code), e.text)
}

// classify tells the outcome of a request from its error.
func classify(err error) Outcome {
	if err == nil {
		return Answered
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		// 403 too: a client whose certificate was not asked for is anonymous, and anonymous may nothing.
		if status.code == http.StatusUnauthorized || status.code == http.StatusForbidden {
			return Refused
		}
		return Failed
	}
	if isTLS(err) {
		return Refused
	}
	// Nobody but this side can cause it: a peer that closes gives EOF, a reset or GOAWAY. HTTP/2 keeps the text alone.
	if errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "use of closed network connection") {
		return CutOff
	}
	return Failed
}

// closedByServer says whether an error is that of a connection that the server, or a load balancer in front of it, has closed.
func closedByServer(err error) bool {
	if _, answered := errors.AsType[*statusError](err); answered || err == nil || isTLS(err) {
		return false
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	text := err.Error() // HTTP/2 keeps the text alone
	return slices.ContainsFunc([]string{"server sent GOAWAY", "client connection lost", "connection reset by peer", "client conn could not be established"},
		func(s string) bool { return strings.Contains(text, s) })
}

// isTLS says whether an error is one of certificates or of TLS.
func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	// A remote alert is an unexported type below *net.OpError, and HTTP/2 keeps the text alone.
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ")
}
