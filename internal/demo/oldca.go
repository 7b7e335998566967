package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/target"
)

// oldCA is what somebody still has after the rotation: the bundle of before, and certificates of it.
type oldCA struct {
	bundle        []byte
	admin         tls.Certificate
	kubeletClient tls.Certificate // with which the API server came to the kubelets
}

func (d *demo) readOldCA() (oldCA, error) {
	bundle, err := os.ReadFile(filepath.Join(d.master().Directory, hostfiles.CA))
	if err != nil {
		return oldCA{}, fmt.Errorf("read the CA: %w", err)
	}
	admin, err := d.master().Pair("Admin")
	if err != nil {
		return oldCA{}, err
	}
	kubeletClient, err := d.master().Pair("APIServerKubeletClient")
	return oldCA{bundle, admin, kubeletClient}, err
}

// verifyRefused says whether the API server and the kubelets refuse the old certificates, and whether who trusts the
// old CA alone refuses them.
func (d *demo) verifyRefused(ctx context.Context) error {
	current, err := os.ReadFile(filepath.Join(d.master().Directory, hostfiles.CA))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	kubelets, err := os.ReadFile(filepath.Join(d.master().Directory, "pki/kubelet-ca.crt"))
	if err != nil {
		return fmt.Errorf("read the kubelets' CA: %w", err)
	}
	old := d.rotation.old
	problems := d.refuses(ctx, "kube-apiserver", d.places.endpoint()+"/api/v1/namespaces", current, old.bundle, old.admin)
	for _, n := range d.places.nodes {
		url := "https://" + net.JoinHostPort(n.address, strconv.Itoa(d.places.kubelet)) + "/pods"
		problems = errors.Join(problems, d.refuses(ctx, "the kubelet of "+n.host, url, kubelets, old.bundle, old.kubeletClient))
		at := target.Place{Address: n.address, Port: d.places.kubelet}
		if err := target.KubeletAnswers(ctx, d.master(), at); err != nil {
			problems = errors.Join(problems, fmt.Errorf("the kubelet of %s: %w", n.host, err))
		}
	}
	for component, port := range map[string]int{controllerManager: d.places.manager, scheduler: d.places.scheduler} {
		url := "https://" + net.JoinHostPort(d.places.master.address, strconv.Itoa(port)) + "/metrics"
		// They serve certificates of their own making: nobody can verify those, and nothing secret is sent.
		unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} //nolint:gosec // see above
		problems = errors.Join(problems, d.refusesClient(ctx, component, url, unverified, old.admin))
	}
	return problems
}

// refuses says whether a server refuses an old certificate with 401, and a client that trusts the old CA alone it.
func (d *demo) refuses(ctx context.Context, server, url string, current, old []byte, pair tls.Certificate) error {
	verified, err := trusting(current)
	if err != nil {
		return err
	}
	if err := d.refusesClient(ctx, server, url, verified, pair); err != nil {
		return err
	}
	outdated, err := trusting(old)
	if err != nil {
		return err
	}
	_, err = ask(ctx, url, outdated)
	unknown, ok := errors.AsType[x509.UnknownAuthorityError](err)
	if !ok {
		return fmt.Errorf("%s is of no unknown authority to a client that trusts the old CA alone, but: %v", server, err) //nolint:errorlint // it may be nil
	}
	d.say("%s: %q to a client that trusts the old CA alone", server, unknown)
	return nil
}

func (d *demo) refusesClient(ctx context.Context, server, url string, config *tls.Config, pair tls.Certificate) error {
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	status, err := ask(ctx, url, config)
	if err != nil {
		return fmt.Errorf("%s, asked with an old certificate: %w", server, err)
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("%s answers %d to an old certificate, not 401", server, status)
	}
	d.say("%s: 401 for a certificate of the old CA", server)
	return nil
}

func trusting(ca []byte) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA holds no certificate")
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

// ask makes one request on a connection of its own, and returns the answer's status.
func ask(ctx context.Context, url string, config *tls.Config) (int, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if _, err = io.Copy(io.Discard, response.Body); err != nil {
		return 0, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return response.StatusCode, nil
}
