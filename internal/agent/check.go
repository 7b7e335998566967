package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

// access is how a credential gets to the API server.
type access struct {
	server        string // https URL
	serverName    string // by which its certificate is verified; "": the host of server
	ca, cert, key []byte // PEM
}

// askTimeout bounds one question, connection and all.
const askTimeout = 10 * time.Second

// wrongError says that an answer was got, and that it is bad news: what was shown does not work. Every other error of a
// question says that there was no answer.
type wrongError struct{ err error }

func (e *wrongError) Error() string { return e.err.Error() }
func (e *wrongError) Unwrap() error { return e.err }

func wrong(format string, args ...any) error { return &wrongError{fmt.Errorf(format, args...)} }

func isWrong(err error) bool {
	_, ok := errors.AsType[*wrongError](err)
	return ok
}

// stay follows no redirect: no API server answers a question with one, and whoever decides upon an endpoint would have this host ask what it reaches.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// ask asks the API server, on a new connection, who it takes the credential for (SelfSubjectReview,
// authentication.k8s.io/v1), and says why that is not the identity that it should be.
func ask(ctx context.Context, a access, expected pki.Subject) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	question, err := json.Marshal(authenticationv1.SelfSubjectReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"},
	})
	if err != nil {
		return fmt.Errorf("encode the question: %w", err)
	}
	where := strings.TrimSuffix(a.server, "/") + "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(question))
	if err != nil {
		return wrong("the server of the kubeconfig: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return refusedOrUnreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the API server's answer: %w", err)
	}
	return judge(response.StatusCode, body, expected)
}

// client connects anew for each question, with the certificate of the access: with none where that has none.
func (a access) client() (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.ca) {
		return nil, wrong("the bundle that verifies the API server holds no certificate")
	}
	var identity tls.Certificate
	if len(a.cert) > 0 {
		var err error
		if identity, err = tls.X509KeyPair(a.cert, a.key); err != nil {
			return nil, wrong("the client certificate: %w", err)
		}
	}
	// Unlike Certificates this sends the certificate whatever CAs the server names, as client-go does.
	show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &identity, nil }
	return &http.Client{Timeout: askTimeout, CheckRedirect: stay, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: a.serverName, GetClientCertificate: show, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}, nil
}

// judge says whether an answer is the identity that it should be.
func judge(status int, body []byte, expected pki.Subject) error {
	switch {
	case status == http.StatusUnauthorized:
		return wrong("the API server refuses the certificate (401 Unauthorized): it does not trust the CA that signed it, or the certificate has expired")
	case status == http.StatusForbidden:
		return wrong("the API server does not say who it takes the certificate for (403 Forbidden): " +
			"its ClusterRoleBinding system:basic-user is missing")
	case status >= http.StatusMultipleChoices:
		return fmt.Errorf("the API server answered with status %d", status)
	}
	var review authenticationv1.SelfSubjectReview
	if json.Unmarshal(body, &review) != nil { // the error may quote all of it
		return errors.New("read the API server's answer: it is no SelfSubjectReview")
	}
	got := review.Status.UserInfo
	if got.Username != expected.CommonName {
		return wrong("the API server takes the certificate for user %.256q, and not for %q", got.Username, expected.CommonName)
	}
	for _, group := range expected.Organizations {
		if !slices.Contains(got.Groups, group) {
			return wrong("the API server does not take user %q for a member of group %q", got.Username, group)
		}
	}
	return nil
}

// refusedOrUnreachable tells a handshake that one of the ends refused from a server that was not reached.
func refusedOrUnreachable(err error) error {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	if untrusted || alert || strings.Contains(err.Error(), remoteAlert) {
		return wrong("the TLS handshake with the API server: %w", lasting(err))
	}
	return fmt.Errorf("the API server cannot be reached: %w", lasting(err))
}

// remoteAlert begins what crypto/tls says when the other end has refused a handshake.
const remoteAlert = "remote error: tls:"

// lasting is an error without what differs each time it happens, such as the time and the port of this end: a report
// that says something else is written again.
func lasting(err error) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		c := invalid.Cert
		return fmt.Errorf("the certificate of %q is valid from %s to %s, and not now",
			pki.SubjectOf(c), c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	if at := strings.Index(err.Error(), remoteAlert); at >= 0 { // what stands before differs by who reads it first
		return errors.New(err.Error()[at:])
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the name %q cannot be resolved", dns.Name)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return fmt.Errorf("%s %s: %w", op.Op, op.Addr, op.Err)
	}
	return err
}

// accessOf reads a kubeconfig of the path form and the files that it names, as a component does.
func accessOf(file string) (access, error) {
	text, err := os.ReadFile(file) //nolint:gosec // where the agent itself put it
	if err != nil {
		return access{}, fmt.Errorf("read %s: %w", file, err)
	}
	current, err := kubeconfig.ParseCurrent(text)
	if err != nil {
		return access{}, fmt.Errorf("read %s: %w", file, err)
	}
	if !current.HasUser {
		return access{}, fmt.Errorf("%s has no user %q", file, current.UserName)
	}
	a := access{server: current.Server, serverName: current.TLSServerName}
	for path, into := range map[string]*[]byte{current.CA.Path: &a.ca, current.Certificate.Path: &a.cert, current.Key.Path: &a.key} {
		if *into, err = os.ReadFile(path); err != nil { //nolint:gosec // what the kubeconfig names
			return access{}, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return a, nil
}

// served connects to an API server as a client with a bundle would, and says whether it serves a certificate and, by the CAs
// that it names in the handshake, authenticates the clients of some CAs.
func served(ctx context.Context, endpoint string, bundle []byte, expected *x509.Certificate, clients []*x509.Certificate) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	name, err := pki.EndpointHost(endpoint)
	if err != nil {
		return wrong("the endpoint: %w", err)
	}
	address, err := addressOf(endpoint)
	if err != nil {
		return wrong("the endpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var accepted [][]byte // the names of the CAs whose clients it authenticates
	dialer := &tls.Dialer{Config: &tls.Config{
		RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			accepted = r.AcceptableCAs
			return &tls.Certificate{}, nil
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return refusedOrUnreachable(err)
	}
	defer conn.Close()                          //nolint:errcheck // nothing was written
	state := conn.(*tls.Conn).ConnectionState() //nolint:forcetypeassert // what a tls.Dialer returns
	if got := state.PeerCertificates[0]; !got.Equal(expected) {
		return wrong("the API server serves the certificate %s, and not %s, which is installed", pki.SerialOf(got), pki.SerialOf(expected))
	}
	for _, ca := range clients {
		if !slices.ContainsFunc(accepted, func(name []byte) bool { return bytes.Equal(name, ca.RawSubject) }) {
			return wrong("the API server does not accept clients of the CA %q, which is in the installed pki/client-ca.crt: "+
				"does it read that file?", ca.Subject)
		}
	}
	return nil
}

// addressOf is where to connect to for an https URL.
func addressOf(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("read the URL: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
