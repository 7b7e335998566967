// Package controller reconciles clusterpki's kinds: it gathers what is there, lets package plan decide,
// carries the decision out, and writes the status once.
package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/home"
	"clusterpki.io/operator/internal/keypool"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/visits"
)

// Options are the settings of the manager. The zero value runs it for all namespaces, without leader
// election, serving neither metrics nor probes.
type Options struct {
	Namespace string // that is served; "": all namespaces
	// AuthorityNamespace holds ledgers and keys. Default: clusterpki-authority, or, with Namespace, '<own namespace>-authority'.
	AuthorityNamespace string
	// AgentsNamespace holds the ServiceAccounts of hosts' agents. Default: clusterpki-agents, or, with Namespace, '<own namespace>-agents'.
	AgentsNamespace string
	// OwnNamespace is the one that the operator runs in; "": it runs in none.
	OwnNamespace   string
	MetricsAddress string // "", or "0": none
	// MetricsSecure serves the metrics over TLS, to those whom the API server knows and lets get /metrics.
	MetricsSecure bool
	// MetricsCertDir holds tls.crt and tls.key for that; "": a certificate that is made at the start and signed by itself.
	MetricsCertDir string
	ProbeAddress   string // "", or "0": none
	// ProbeAllow are the loopback, link-local, metadata and multicast addresses at which API servers may be probed. Others of these are refused.
	ProbeAllow  []netip.Prefix
	LeaderElect bool
	// LeaderElectionNamespace holds the lease; "": the one that the manager runs in.
	LeaderElectionNamespace string
	// Workers reconcile objects of a kind side by side. RSA keys are made beside them. Default: 4.
	Workers int
	// Poll is how often the rotation of a CA looks whether its consumers have acknowledged. Default: 5s.
	Poll time.Duration
	// RSAKeys is where RSA keys come from; nil: they are generated.
	RSAKeys pki.KeySource
	// Clock tells the time; nil: the API server's, as its answers show it.
	Clock clock.PassiveClock
	// Progress shows how many reconciliations are under way, and have ended; nil: it is not shown.
	Progress *visits.Progress
}

// Scheme knows Kubernetes' own kinds and clusterpki's.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// DefaultAuthorityNamespace is the authority namespace of an operator that serves all namespaces.
const DefaultAuthorityNamespace = "clusterpki-authority"

// complete fills defaults in, and refuses namespaces that must not be the same: whoever may run pods or read Secrets in one
// of them must not be able to in another.
func (o *Options) complete() error {
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.RSAKeys == nil {
		o.RSAKeys = pki.GenerateKey
	}
	if o.Clock == nil {
		o.Clock = apitime.New(clock.RealClock{})
	}
	if o.AuthorityNamespace == "" {
		o.AuthorityNamespace = o.beside(DefaultAuthorityNamespace, "-authority")
	}
	if o.AgentsNamespace == "" {
		o.AgentsNamespace = o.beside(agents.DefaultNamespace, "-agents")
	}
	return o.apart()
}

// beside is the default of a namespace that the operator has beside its own: two operators for one namespace each never share one.
func (o *Options) beside(all, suffix string) string {
	if o.Namespace == "" {
		return all
	}
	return cmp.Or(o.OwnNamespace, o.Namespace) + suffix
}

// apart says which namespaces are the same and must not be.
func (o *Options) apart() error {
	for _, n := range []struct{ what, name, flag string }{
		{"authority namespace", o.AuthorityNamespace, "--authority-namespace"}, {"agents' namespace", o.AgentsNamespace, "--agents-namespace"},
	} {
		switch n.name {
		case o.OwnNamespace:
			return fmt.Errorf("the %s %q is the one that the operator runs in: choose another one by %s", n.what, n.name, n.flag)
		case o.Namespace:
			return fmt.Errorf("the %s %q is the one that is served: choose another one by %s", n.what, n.name, n.flag)
		}
	}
	switch {
	case o.AgentsNamespace == o.AuthorityNamespace:
		return fmt.Errorf("the agents' namespace %q is the authority namespace: choose another one by --agents-namespace", o.AgentsNamespace)
	case o.Namespace != "" && o.Namespace == o.OwnNamespace:
		return fmt.Errorf("namespace %q is the one that the operator runs in: whoever may run pods there has its rights; serve another one", o.Namespace)
	}
	return nil
}

// New sets a manager up with all reconcilers; its Start runs it.
//
// Memory and privacy: of Kubernetes' own kinds the cache holds what the operator made, by label, so that it does not grow with anybody else's.
func New(ctx context.Context, cfg *rest.Config, o Options) (ctrl.Manager, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	seals := &seals{}
	kept := (&owned.Cache{Seal: seals.of(ctx)}).Transform
	counts := metrics.NewCounts(causes())
	serving, err := metricsOptions(o)
	if err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(counts.Requests)
	if c, learns := o.Clock.(*apitime.Clock); learns {
		cfg.Wrap(c.Wrap)
	}
	cfg.QPS = -1 // the API server's own priority and fairness decides, not a bucket of client-go's
	end := &stopping{told: make(chan struct{})}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        Scheme(),
		Cache:                         o.cached(kept),
		NewCache:                      end.newCache,
		Metrics:                       serving,
		HealthProbeBindAddress:        orNone(o.ProbeAddress),
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              "clusterpki.io",
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		// Several managers may run in one process, each for a namespace of its own.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	if err := visits.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	if err := setup(ctx, mgr, o, counts, seals); err != nil {
		return nil, err
	}
	return stoppable{mgr, end}, nil
}

// cached is what the cache of the manager holds: of what others make too, what bears the operator's label.
func (o *Options) cached(kept toolscache.TransformFunc) cache.Options {
	ours := cache.ByObject{Label: owned.Selector, Transform: kept}
	accounts, grants := ours, ours
	accounts.Namespaces = map[string]cache.Config{o.AgentsNamespace: {}}
	out := cache.Options{DefaultTransform: kept}
	if o.Namespace != "" {
		out.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
		grants.Namespaces = map[string]cache.Config{o.Namespace: {}, o.AgentsNamespace: {}}
	}
	out.ByObject = map[client.Object]cache.ByObject{
		&corev1.Secret{}:         ours,
		&corev1.ConfigMap{}:      ours,
		&coordinationv1.Lease{}:  ours,
		&corev1.ServiceAccount{}: accounts,
		&rbacv1.Role{}:           grants,
		&rbacv1.RoleBinding{}:    grants,
	}
	return out
}

// newAuthorities is a cache of the authority namespace, without keys.
func newAuthorities(ctx context.Context, mgr ctrl.Manager, namespace string) (cache.Cache, error) {
	authorities, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
		DefaultNamespaces: map[string]cache.Config{namespace: {}}, DefaultTransform: authority.WithoutKeys,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the cache of the authority namespace: %w", err)
	}
	if err := authorities.IndexField(ctx, &corev1.Secret{}, authority.NamespaceIndex, authority.NamespaceOf); err != nil {
		return nil, fmt.Errorf("index the authority namespace: %w", err)
	}
	if err := mgr.Add(authorities); err != nil {
		return nil, fmt.Errorf("add the cache of the authority namespace: %w", err)
	}
	return authorities, nil
}

// reconciler reconciles one kind.
type reconciler interface {
	setup(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error
}

func setup(ctx context.Context, mgr ctrl.Manager, o Options, counts *metrics.Counts, seals *seals) error {
	authorities, err := newAuthorities(ctx, mgr, o.AuthorityNamespace)
	if err != nil {
		return err
	}
	direct, err := client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("set up the client of the authority namespace: %w", err)
	}
	prober, existing := newProber(o.ProbeAllow, counts.Attempted)
	times := apitime.Of(o.Clock)
	recorder := &recorder{Store: records.New(o.AuthorityNamespace, direct, times.Now, standing(mgr.GetClient()))}
	said := &reports{records: recorder.Store}
	if err := addMetrics(mgr, o, counts, prober, said); err != nil {
		return err
	}
	store := authority.New(o.AuthorityNamespace, direct, authorities)
	seals.store = store
	wrote, keys := &owned.Writes{}, keys{keypool.New(o.RSAKeys)}
	secrets := owned.Secrets{Cache: mgr.GetClient(), API: mgr.GetAPIReader(), Wrote: wrote}
	keysHome := &home.Home{
		Client: direct, Namespace: o.AuthorityNamespace, Own: o.OwnNamespace, Served: o.Namespace, Agents: o.AgentsNamespace,
		Prepare: func(ctx context.Context) error { _, err := store.Seal(ctx); return err },
	}
	b := base{
		client: mgr.GetClient(), live: mgr.GetAPIReader(),
		events: boundedEvents{mgr.GetEventRecorder("clusterpki")}, counts: counts, clock: times, poll: cmp.Or(o.Poll, gatePoll),
		store: store, home: keysHome, wrote: wrote, secrets: secrets,
		leaves: &leaf.Maker{
			Issuers: leaf.Issuers{Client: mgr.GetClient(), Store: store, Clock: times, Home: keysHome.UID}, Secrets: secrets, Keys: keys,
			Records: recorder,
		},
		recorder: recorder, reports: said, noAccess: newAgentsRefused(), keys: keys, announced: &announced{},
		progress: cmp.Or(o.Progress, &visits.Progress{}),
	}
	for what, r := range map[string]manager.Runnable{"the look at the authority namespace": b.home, "the pool of keys": keys, "the prober": prober} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("add %s: %w", what, err)
		}
	}
	cas := b.cas(prober)
	if err := b.setupBeside(mgr, o, authorities); err != nil {
		return err
	}
	err = setupKinds(ctx, mgr, o, authorities, map[string]reconciler{
		v1alpha1.KindClusterPKI:           b.clusterPKIs(o.ProbeAllow),
		v1alpha1.KindClusterCA:            &clusterCAs{b, cas},
		v1alpha1.KindServiceAccountKey:    &serviceAccountKeys{b, b.accounts()},
		v1alpha1.KindAPIServerCertificate: &apiServerCertificates{b, b.accounts(), prober, existing},
		v1alpha1.KindNodeCredential:       &nodeCredentials{b, &visits.Settled{}},
	})
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("progress", b.progress.Check); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("authority-namespace", b.home.Check); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	return nil
}

// setupBeside sets up what reconciles something else than objects of ours.
func (b *base) setupBeside(mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	return errors.Join(b.deletions().setup(mgr, authorities), (&deliveryKeys{*b}).setup(mgr, authorities),
		(&agentAccounts{*b, o.AgentsNamespace}).setup(mgr, o.Workers))
}

// setupKinds sets the reconciler of every kind up.
func setupKinds(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache, of map[string]reconciler) error {
	for _, k := range v1alpha1.Kinds() {
		r, ok := of[k.Name]
		if !ok {
			return fmt.Errorf("nothing reconciles %s", k.Name)
		}
		if err := r.setup(ctx, mgr, o, authorities); err != nil {
			return err
		}
	}
	return nil
}

const (
	defaultWorkers = 4
	// gatePoll is how often an open gate is looked at by default: at a fixed interval, because consumers acknowledge by the
	// passing of time.
	gatePoll = 5 * time.Second
)

func orNone(address string) string {
	if address == "" {
		return "0"
	}
	return address
}
