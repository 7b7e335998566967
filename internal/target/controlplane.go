package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"clusterpki.io/operator/internal/hostfiles"
)

const startTimeout = 90 * time.Second

// StartEtcd starts etcd on hosts, a member on each, and waits until each answers: none does before most run. Their exported flags say where they listen.
func (r *Runner) StartEtcd(ctx context.Context, hosts ...Host) error {
	for _, h := range hosts {
		if err := r.start(h, "etcd", "etcd",
			"--data-dir="+filepath.Join(r.Data, h.Name+"-etcd"), "--unsafe-no-fsync=true", "--log-level=warn"); err != nil {
			return err
		}
	}
	for _, h := range hosts {
		if err := r.Poll(ctx, startTimeout, h.EtcdAnswers); err != nil {
			return fmt.Errorf("wait for etcd: %w", err)
		}
	}
	return nil
}

// EtcdAnswers says whether the etcd of a host is healthy, with the files that lie there now.
func (h Host) EtcdAnswers(ctx context.Context) error {
	endpoint, err := h.flag("etcd", "advertise-client-urls")
	if err != nil {
		return err
	}
	client, err := h.client(hostfiles.ForRole("EtcdHealthcheckClient", ""), hostfiles.EtcdCA)
	if err != nil {
		return err
	}
	return get(ctx, client, endpoint+"/health")
}

// StartAPIServer starts kube-apiserver on a host at the given address and waits until it is ready.
func (r *Runner) StartAPIServer(ctx context.Context, h Host, at Place, overrides ...string) error {
	if err := r.start(h, "kube-apiserver", "kube-apiserver", append(at.flags(), overrides...)...); err != nil {
		return err
	}
	if err := r.Poll(ctx, startTimeout, func(ctx context.Context) error { return h.APIServerAnswers(ctx, at) }); err != nil {
		return fmt.Errorf("wait for kube-apiserver: %w", err)
	}
	return nil
}

// APIServerAnswers says whether the API server of a host is ready, with the files that lie there now.
func (h Host) APIServerAnswers(ctx context.Context, at Place) error {
	port, err := h.flag("kube-apiserver", "secure-port")
	if err != nil {
		return err
	}
	if at.Port != 0 {
		port = fmt.Sprint(at.Port)
	}
	client, err := h.client(hostfiles.Files{}, hostfiles.CA)
	if err != nil {
		return err
	}
	return get(ctx, client, fmt.Sprintf("https://%s:%s/readyz", at.Address, port))
}

// StartControllerManager starts kube-controller-manager on a host.
func (r *Runner) StartControllerManager(h Host, at Place, overrides ...string) error {
	return r.start(h, "kube-controller-manager", "kube-controller-manager", append(at.flags(), overrides...)...)
}

// StartScheduler starts kube-scheduler on a host.
func (r *Runner) StartScheduler(h Host, at Place, overrides ...string) error {
	return r.start(h, "kube-scheduler", "kube-scheduler", append(at.flags(), overrides...)...)
}

// client makes an HTTP client that verifies servers with an exported bundle and shows an exported
// certificate; none for the zero Files.
func (h Host) client(identity hostfiles.Files, ca string) (*http.Client, error) {
	text, err := os.ReadFile(filepath.Join(h.Directory, ca)) //nolint:gosec // what the caller exported
	if err != nil {
		return nil, fmt.Errorf("read a CA of host %s: %w", h.Name, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s of host %s holds no certificate", ca, h.Name)
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if identity.Certificate != "" {
		pair, err := h.pair(identity)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
	}, nil
}

// Pair reads the certificate and the key of a role.
func (h Host) Pair(role string) (tls.Certificate, error) { return h.pair(hostfiles.ForRole(role, "")) }

func (h Host) pair(of hostfiles.Files) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(h.Directory, of.Certificate), filepath.Join(h.Directory, of.Key))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read a certificate of host %s: %w", h.Name, err)
	}
	return pair, nil
}

// get succeeds if the server's answer is 200.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500)) //nolint:errcheck // the status says enough
		return fmt.Errorf("%s answered %s: %s", url, response.Status, text)
	}
	return nil
}
