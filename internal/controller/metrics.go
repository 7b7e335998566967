package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/probe"
)

// metricsOptions say where and to whom the metrics are served.
func metricsOptions(o Options) (metricsserver.Options, error) {
	out := metricsserver.Options{BindAddress: orNone(o.MetricsAddress)}
	if !o.MetricsSecure {
		return out, nil
	}
	out.SecureServing, out.CertDir = true, o.MetricsCertDir
	out.FilterProvider = filters.WithAuthenticationAndAuthorization
	// A scrape is one request: HTTP/2 would bring nothing but the attacks on it.
	out.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	if o.MetricsCertDir == "" {
		return out, nil
	}
	for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} { // without them the server would sign for itself, and say nothing
		if _, err := os.Stat(filepath.Join(o.MetricsCertDir, name)); err != nil {
			return out, fmt.Errorf("the certificate to serve metrics with: %w", err)
		}
	}
	return out, nil
}

// addMetrics tells what this replica does and, while it is the one that reconciles, of the objects.
func addMetrics(mgr ctrl.Manager, o Options, counts *metrics.Counts, prober *probe.Prober, said *reports) error {
	if orNone(o.MetricsAddress) == "0" {
		return nil
	}
	leading := func() bool {
		select {
		case <-mgr.Elected():
			return true
		default:
			return false
		}
	}
	worth := func(of v1alpha1.Object, l *coordinationv1.Lease) (consumers.Reported, bool) {
		return said.known(l, recordedOwner(of))
	}
	objects := metrics.NewObjects(mgr.GetClient(), prober.Results, leading, o.Clock, worth)
	if err := mgr.Add(teller{counts, objects, metrics.NewBuildInfo()}); err != nil {
		return fmt.Errorf("add the metrics: %w", err)
	}
	return nil
}

// teller registers metrics for as long as the manager runs. The registry is the process's: one manager of it tells.
type teller []prometheus.Collector

// Start implements manager.Runnable.
func (t teller) Start(ctx context.Context) error {
	for _, c := range t {
		if err := ctrlmetrics.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", again(err))
		}
		defer ctrlmetrics.Registry.Unregister(c)
	}
	<-ctx.Done()
	return nil
}

// NeedLeaderElection says that a replica that stands by tells too: that it stands by.
func (teller) NeedLeaderElection() bool { return false }

// again explains why metrics are registered already.
func again(err error) error {
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return errors.New("another manager of this process serves them already")
	}
	return err
}

// causes are, by kind, why certificates are issued.
func causes() map[string][]string {
	leaves := make([]string, 0, len(plan.Causes))
	for _, c := range plan.Causes {
		leaves = append(leaves, string(c))
	}
	ca := []string{string(plan.SecretMissing)} // the first one
	for _, c := range plan.RotationCauses {
		ca = append(ca, string(c))
	}
	out := map[string][]string{}
	for _, k := range v1alpha1.Kinds() {
		out[k.Name] = leaves
	}
	out[v1alpha1.KindClusterCA] = ca
	out[v1alpha1.KindServiceAccountKey] = []string{string(plan.SecretMissing), string(keyring.TriggerChanged), string(keyring.RenewalDue)}
	return out
}
