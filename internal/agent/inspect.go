package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// expectation is what a certificate must be, whatever a Secret says.
type expectation struct {
	subject pki.Subject
	usages  []pki.Usage
	names   []string // under which it must serve
}

// inspect says why a certificate and its key are not to be installed, before anybody is asked: they must belong together,
// be who they should be, be valid now, and, where there is a bundle, lead to a root of it.
func inspect(now time.Time, e expectation, pair pki.Leaf, bundle []byte) error {
	cert := pair.Cert
	if !e.subject.Equal(pki.SubjectOf(cert)) {
		return fmt.Errorf("the certificate is for %q, and %q is what this host needs: it is another's", pki.SubjectOf(cert), e.subject)
	}
	if now.Before(cert.NotBefore) {
		return fmt.Errorf("the certificate is not valid before %s: is the clock of this host right?", cert.NotBefore.UTC().Format(time.RFC3339))
	}
	if !now.Before(cert.NotAfter) {
		return fmt.Errorf("the certificate expired at %s: is the operator running, and the clock of this host right?",
			cert.NotAfter.UTC().Format(time.RFC3339))
	}
	for usage, bit := range map[pki.Usage]x509.ExtKeyUsage{pki.ClientAuth: x509.ExtKeyUsageClientAuth, pki.ServerAuth: x509.ExtKeyUsageServerAuth} {
		if slices.Contains(e.usages, usage) && !slices.Contains(cert.ExtKeyUsage, bit) {
			return fmt.Errorf("the certificate is not for %s", usage)
		}
	}
	for _, name := range e.names {
		if err := cert.VerifyHostname(name); err != nil {
			return fmt.Errorf("the certificate does not serve %q: %w", name, err)
		}
	}
	if bundle == nil {
		return nil
	}
	roots, err := pki.ParseCertificates(bundle)
	if err != nil {
		return fmt.Errorf("the trust bundle: %w", err)
	}
	if err := pair.Verify(now, roots); err != nil {
		return fmt.Errorf("the certificate does not lead to a CA of its own bundle: %w", lasting(err))
	}
	return nil
}

// rehearse lets an API server with a new certificate and a new bundle of client CAs, and a client with a new certificate
// and a new bundle, shake hands within this process: where both change on one host, neither can be asked beforehand.
func rehearse(now time.Time, server tls.Certificate, clientCAs []byte, client access) error {
	authenticates, trusts := x509.NewCertPool(), x509.NewCertPool()
	if !authenticates.AppendCertsFromPEM(clientCAs) || !trusts.AppendCertsFromPEM(client.ca) {
		return errors.New("a trust bundle holds no certificate")
	}
	identity, err := tls.X509KeyPair(client.cert, client.key)
	if err != nil {
		return fmt.Errorf("the client certificate: %w", err)
	}
	name, err := pki.EndpointHost(client.server)
	if err != nil {
		return fmt.Errorf("the endpoint: %w", err)
	}
	at := func() time.Time { return now }
	near, far := net.Pipe()
	defer near.Close() //nolint:errcheck // there is nothing behind it
	defer far.Close()  //nolint:errcheck // as above
	served := make(chan error, 1)
	go func() {
		served <- tls.Server(far, &tls.Config{ //nolint:gosec // TLS 1.3 is Go's least for a server that says nothing else
			Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authenticates, Time: at,
			SessionTicketsDisabled: true, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
		}).Handshake()
	}()
	err = tls.Client(near, &tls.Config{
		RootCAs: trusts, ServerName: name, Certificates: []tls.Certificate{identity}, Time: at, MinVersion: tls.VersionTLS12,
	}).Handshake()
	if err != nil {
		near.Close() //nolint:errcheck // so that the other end gives up too
	}
	switch serr := <-served; {
	case err != nil && serr != nil && !errors.Is(serr, net.ErrClosed):
		return fmt.Errorf("a client with the new files and an API server with the new files refuse each other: %w", errors.Join(lasting(err), lasting(serr)))
	case err != nil:
		return fmt.Errorf("a client with the new files refuses an API server with the new files: %w", lasting(err))
	case serr != nil:
		return fmt.Errorf("an API server with the new files refuses a client with the new files: %w", lasting(serr))
	}
	return nil
}
