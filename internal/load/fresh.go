package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// fresh asks on a new connection each time, whether or not earlier requests have been answered.
type fresh struct {
	Identity
	Options
	row *row
}

func (f *fresh) run(ctx context.Context, delay time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(delay):
	}
	var asks sync.WaitGroup
	defer asks.Wait()
	tick := time.NewTicker(f.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asks.Go(func() { f.ask(ctx, f.Clock.Now()) })
	}
}

func (f *fresh) ask(ctx context.Context, began time.Time) {
	err := f.get(ctx)
	if ctx.Err() != nil {
		return // the load is over
	}
	if err == nil {
		f.row.answered(began)
		return
	}
	outcome := classify(err)
	if outcome == CutOff { // nobody here closes it
		outcome = Failed
	}
	f.row.failed(began, outcome, err)
}

func (f *fresh) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	host, config, token, err := f.start(ctx)
	if err != nil {
		return err
	}
	var transport http.RoundTripper = &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	if token != "" {
		transport = bearer{transport, token}
	}
	return get(ctx, &http.Client{Transport: transport}, host+f.Get)
}

// bearer adds a token to each request.
type bearer struct {
	http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r) //nolint:wrapcheck // the client wraps it
}

// start reads what a process reads when it starts.
func (f *fresh) start(ctx context.Context) (host string, config *tls.Config, token string, err error) {
	c, err := clientcmd.BuildConfigFromFlags("", f.Kubeconfig)
	if err != nil {
		return "", nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return "", nil, "", fmt.Errorf("read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return "", nil, "", fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	config = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if c.CertFile == "" {
		text, err := os.ReadFile(c.BearerTokenFile)
		if err != nil {
			return "", nil, "", fmt.Errorf("read the token: %w", err)
		}
		return c.Host, config, strings.TrimSpace(string(text)), nil
	}
	pair, err := f.pair(ctx, c.CertFile, c.KeyFile)
	if err != nil {
		return "", nil, "", err
	}
	// As client-go does, and unlike Certificates: whatever CAs the server asks for.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	return c.Host, config, "", nil
}

// pair reads certificate and key. Two files cannot be read in one moment: where they are swapped in between, it
// reads them again, once.
func (f *fresh) pair(ctx context.Context, certificate, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil && strings.Contains(err.Error(), "private key does not match public key") {
		f.row.reread()
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		pair, err = tls.LoadX509KeyPair(certificate, key)
	}
	if err != nil {
		return nil, fmt.Errorf("read the certificate and its key: %w", err)
	}
	return &pair, nil
}

// get asks and reads the whole answer, which must be 2xx and not empty.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or cancelled
	if err := refusal(response); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if n == 0 {
		return errors.New("the answer is empty")
	}
	return nil
}

// refusal is the error of an answer that is not 2xx.
func refusal(response *http.Response) error {
	if response.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 300)) //nolint:errcheck // the status says enough
	return &statusError{code: response.StatusCode, text: strings.TrimSpace(string(text))}
}
