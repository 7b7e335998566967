package agent

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/internal/apitime"
)

// session is a connection to the management cluster, and the watches on it. The nil session is none.
type session struct {
	from    string // the kubeconfig
	secrets corev1client.SecretsGetter
	leases  coordinationv1client.LeasesGetter
	ctx     context.Context //nolint:containedctx // it is the session's life
	cancel  context.CancelFunc

	mu      sync.Mutex
	err     error // why it is of no use any more
	reached bool  // whether there ever was an answer

	server *apitime.Clock // of the management cluster's API server, whatever this host's says
}

// dial connects, by the bootstrap kubeconfig where the other one does not exist, or every other time it did not work.
func (a *Agent) dial(ctx context.Context, failures int) (*session, error) {
	from := a.cfg.Kubeconfig
	if _, err := os.Stat(from); a.cfg.BootstrapKubeconfig != "" && (os.IsNotExist(err) || failures%2 == 1) {
		from = a.cfg.BootstrapKubeconfig
	}
	cfg, err := restConfig(from)
	if err != nil {
		return nil, fmt.Errorf("%w: see docs/agent.md, \"First contact\"", err)
	}
	s := &session{from: from, server: apitime.New(a.clock)}
	if from == "" {
		s.from = "the service account of this pod"
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchful{next, s} })
	cfg.Wrap(s.server.Wrap)
	client, err := rest.HTTPClientFor(cfg)
	if err == nil {
		client.CheckRedirect = stay
		s.secrets, err = corev1client.NewForConfigAndClient(cfg, client)
	}
	if err == nil {
		s.leases, err = coordinationv1client.NewForConfigAndClient(cfg, client)
	}
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("connect with %s: %w", s.from, err)
	}
	a.store.follow(s, a.cfg, a.objects, a.clock, a.log)
	return s, nil
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

// identity is what a kubeconfig says or, without one, what a pod has.
func identity(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("kubeconfig is not set, and this is no pod: %w", err)
		}
		return cfg, nil
	}
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
		return resp, err //nolint:wrapcheck // it is the transport's
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.reached = w.s.reached || resp.StatusCode < http.StatusBadRequest
	return resp, nil
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
func (a *Agent) explain(s *session) error {
	err := s.broken()
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the management cluster does not accept this host's identity any more (401): its certificate or token has expired, or its CA "+
			"was rotated while the host was away. The files that are there stay in use. Put a new kubeconfig at %s, or one for the "+
			"way back at bootstrapKubeconfig: see docs/agent.md, \"A host that was away\"", s.from)
	case isWrong(refusedOrUnreachable(err)):
		return fmt.Errorf("this host does not trust the management cluster, or the other way round: %w. The files that are there stay in use. "+
			"Put a new kubeconfig at %s: see docs/agent.md, \"A host that was away\"", err, s.from)
	default:
		return err
	}
}
