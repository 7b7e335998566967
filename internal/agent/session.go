package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/internal/apitime"
)

// session is a connection to a management cluster, and the watches on it. The nil session is none.
type session struct {
	cluster    *cluster
	issuer     issuer
	credential credential
	secrets    secretsAPI
	leases     leasesAPI
	tokens     tokensAPI
	ctx        context.Context //nolint:containedctx // it is the session's life
	cancel     context.CancelFunc
	empty      bool // it holds no Secret of this host

	// impatient: there are other management clusters, so that this one is given up when it has not answered for so long.
	impatient bool
	patience  time.Duration
	clock     clock.PassiveClock

	mu          sync.Mutex
	err         error     // why it is of no use any more
	reached     bool      // whether there ever was an answer to this identity
	silentSince time.Time // since when there was none

	server *apitime.Clock // of the management cluster's API server, whatever this host's says
}

// dial connects to a management cluster, by the newest credential, or by the other one where that was refused.
func (a *Agent) dial(ctx context.Context, c *cluster) (*session, error) {
	cfg, err := restConfig(c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("%w: see docs/agent.md, \"First contact\"", err)
	}
	s := &session{
		cluster: c, server: apitime.New(a.clock), clock: a.clock, issuer: issuerOf(cfg),
		impatient: len(a.clusters) > 1, patience: a.silence,
	}
	if s.credential, err = a.credentialFor(s, cfg); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchful{next, s} })
	cfg.Wrap(s.server.Wrap)
	client, err := rest.HTTPClientFor(cfg)
	var core, coordination rest.Interface
	if err == nil {
		client.CheckRedirect = stay
		core, err = restClient(cfg, client, corev1.SchemeGroupVersion)
	}
	if err == nil {
		coordination, err = restClient(cfg, client, coordinationv1.SchemeGroupVersion)
	}
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("connect with %s: %w", c.Kubeconfig, err)
	}
	secrets := secretsClient{core, a.cfg.Namespace}
	s.secrets, s.tokens, s.leases = secrets, secrets, leasesClient{coordination, a.cfg.Namespace}
	return s, nil
}

// credentialFor chooses the credential of a session, and has its configuration show it.
func (a *Agent) credentialFor(s *session, cfg *rest.Config) (credential, error) {
	c := s.cluster
	first, firstErr := firstCredential(cfg)
	renewed, there, err := a.credentials.read(c.Name, s.issuer)
	if err != nil {
		a.log.Info("Could not use the renewed token", "cluster", c.Name, "problem", err.Error())
	}
	if !there {
		return first, firstErr
	}
	newest := !first.better(renewed) // the renewed one
	if newest == c.other && firstErr == nil {
		return first, nil
	}
	cfg.BearerToken, cfg.BearerTokenFile = renewed.token(), ""
	return renewed, nil
}

// restConfig reads a kubeconfig with all that it names, so that what was there before plays no part.
func restConfig(kubeconfig string) (*rest.Config, error) {
	cfg, err := identity(kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = "clusterpki-agent"
	cfg.QPS = -1 // a handful of requests; the server shares itself out
	return cfg, nil
}

// identity is what a kubeconfig says.
func identity(kubeconfig string) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

// watchful notes what every answer tells of the connection.
type watchful struct {
	next http.RoundTripper
	s    *session
}

func (w *watchful) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		if isWrong(refusedOrUnreachable(err)) { // another identity or another bundle may help
			w.s.fail(err)
		}
		if !errors.Is(err, context.Canceled) {
			w.s.silent(err)
		}
		return resp, err //nolint:wrapcheck // it is the transport's
	}
	if resp.StatusCode >= http.StatusInternalServerError { // of a proxy whose API server is away, or of one that is not ready
		w.s.silent(fmt.Errorf("it answers with status %d", resp.StatusCode))
		return resp, nil
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.silentSince = time.Time{}
	w.s.reached = w.s.reached || resp.StatusCode != http.StatusUnauthorized
	return resp, nil
}

// silent notes that there was no answer, and ends the session if that lasts, where there is another management cluster to go to.
func (s *session) silent(err error) {
	now := s.clock.Now()
	s.mu.Lock()
	if s.silentSince.IsZero() {
		s.silentSince = now
	}
	lasts := now.Sub(s.silentSince) >= s.patience
	s.mu.Unlock()
	if s.impatient && lasts {
		s.fail(err)
	}
}

// fail ends the session.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.cancel()
}

// check ends the session if an error says that it is of no use.
func (s *session) check(err error) {
	if apierrors.IsUnauthorized(err) {
		s.fail(err)
	}
}

func (s *session) broken() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) answered() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached && s.err == nil
}

func (s *session) done() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.ctx.Done()
}

func (s *session) close() {
	if s != nil {
		s.cancel()
	}
}

// explain says what the end of a session means, and what to do.
func (s *session) explain(of Config) error {
	err, from := s.broken(), s.cluster.Kubeconfig
	bring := fmt.Sprintf("`clusterpki agent install -n %s --host %s --token-only", of.Namespace, of.Host)
	if s.cluster.Name != DefaultCluster {
		bring += " --cluster-name " + s.cluster.Name
	}
	bring += "`"
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the management cluster does not accept this host's identity any more (401): its token has expired, or its "+
			"ServiceAccount was made anew. The files that are there stay in use. Put a new kubeconfig at %s, with %s: see "+
			"docs/agent.md, \"A host that was away\"", from, bring)
	case isWrong(refusedOrUnreachable(err)):
		return fmt.Errorf("this host does not trust the management cluster, or the other way round: %w. The files that are there stay in use. "+
			"Put a new kubeconfig at %s, with %s: see docs/agent.md, \"A host that was away\"", err, from, bring)
	default:
		return err
	}
}
