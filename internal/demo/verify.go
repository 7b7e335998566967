package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/target"
)

// verifyTLS looks at what servers present, as a client sees it that trusts nothing but the exported CA.
func (d *demo) verifyTLS(ctx context.Context) error {
	if err := d.verifyAPIServer(ctx); err != nil {
		return err
	}
	for _, n := range d.places.nodes {
		at := target.Place{Address: n.address, Port: d.places.kubelet}
		err := d.cluster.Poll(ctx, 30*time.Second, func(ctx context.Context) error { return target.KubeletAnswers(ctx, d.master(), at) })
		if err != nil {
			return fmt.Errorf("the kubelet of %s: %w", n.host, err)
		}
		d.say("the kubelet of %s at %s: verified; answers apiserver-kubelet-client, refuses a stranger", n.host, n.address)
	}
	return nil
}

func (d *demo) verifyAPIServer(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(d.master().Directory, hostfiles.CA))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return errors.New("the exported CA holds no certificate")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(d.places.master.address, strconv.Itoa(d.places.api)))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", d.places.endpoint(), err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return fmt.Errorf("a %T is no TLS connection", conn)
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	d.say("kube-apiserver at %s: %s, signed by %s, verified", d.places.endpoint(), leaf.Subject, leaf.Issuer)
	names := append([]string{
		d.places.master.host, d.places.master.original, "localhost", "127.0.0.1", "kubernetes.default.svc.cluster.local",
	}, leaf.DNSNames...)
	for _, name := range names {
		if name == "" {
			continue
		}
		if err := leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("the certificate of kube-apiserver: %w", err)
		}
	}
	var addresses []string
	for _, ip := range leaf.IPAddresses {
		addresses = append(addresses, ip.String())
	}
	d.say("  valid for %s", strings.Join(append(leaf.DNSNames, addresses...), ", "))
	return nil
}
