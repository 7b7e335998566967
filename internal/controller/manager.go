// Package controller reconciles clusterpki's kinds: it gathers what is there, lets package plan decide,
// carries the decision out, and writes the status once.
package controller

import (
	"cmp"
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/metrics"
)

// Options are the settings of the manager. The zero value runs it for all namespaces, without leader
// election, serving neither metrics nor probes.
type Options struct {
	Namespace      string // "": all namespaces
	MetricsAddress string // "", or "0": none
	// MetricsSecure serves the metrics over TLS, to those whom the API server knows and lets get /metrics.
	MetricsSecure bool
	// MetricsCertDir holds tls.crt and tls.key for that; "": a certificate that is made at the start and signed by itself.
	MetricsCertDir string
	ProbeAddress   string // "", or "0": none
	LeaderElect    bool
	// LeaderElectionNamespace holds the lease; "": the one that the manager runs in.
	LeaderElectionNamespace string
	// Workers reconcile leaves side by side. It bounds how much CPU key generation takes. Default: 4.
	Workers int
	// Poll is how often the replacement of a CA looks whether its consumers have acknowledged. Default: 5s.
	Poll time.Duration
	// Clock tells the time; nil: the system's.
	Clock clock.PassiveClock
}

// Scheme knows Kubernetes' own kinds and clusterpki's.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// New sets a manager up with all reconcilers; its Start runs it.
//
// Memory and privacy: of Secrets, ConfigMaps and Leases the cache holds those that the operator made, by label,
// so that it does not grow with anybody else's.
func New(ctx context.Context, cfg *rest.Config, o Options) (ctrl.Manager, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})}
	cacheOptions := cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Secret{}:        ours,
		&corev1.ConfigMap{}:     ours,
		&coordinationv1.Lease{}: ours,
	}}
	if o.Namespace != "" {
		cacheOptions.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}
	counts := metrics.NewCounts(causes())
	serving, err := metricsOptions(o)
	if err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(counts.Requests)
	cfg.QPS = -1 // the API server's own priority and fairness decides, not a bucket of client-go's
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: Scheme(),
		Cache:  cacheOptions,
		// The cache waits for the operator's own writes, so that no reconciliation decides from a
		// state that it has itself already changed.
		Client:                        client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
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
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	if err := setup(mgr, o, counts); err != nil {
		return nil, err
	}
	return mgr, nil
}

func setup(mgr ctrl.Manager, o Options, counts *metrics.Counts) error {
	prober, seen := newProber(counts.Looked)
	if err := addMetrics(mgr, o, counts, prober); err != nil {
		return err
	}
	b := base{
		client: mgr.GetClient(), live: mgr.GetAPIReader(),
		events: mgr.GetEventRecorder("clusterpki"), counts: counts, clock: o.Clock, poll: cmp.Or(o.Poll, gatePoll),
	}
	if err := mgr.Add(prober); err != nil {
		return fmt.Errorf("add the prober: %w", err)
	}
	if err := (&clusterCAs{b, prober}).setup(mgr); err != nil {
		return err
	}
	if err := (&apiServerCertificates{b, prober, seen}).setup(mgr, o.Workers); err != nil {
		return err
	}
	if err := (&nodeCredentials{b}).setup(mgr, o.Workers); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	return nil
}

const defaultWorkers = 4

func options(workers int) controller.Options {
	if workers <= 0 {
		workers = defaultWorkers
	}
	return controller.Options{MaxConcurrentReconciles: workers}
}

func orNone(address string) string {
	if address == "" {
		return "0"
	}
	return address
}
