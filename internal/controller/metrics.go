package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/probe"
)

// metricsOptions say where and to whom the metrics are served.
func metricsOptions(o Options) metricsserver.Options {
	out := metricsserver.Options{BindAddress: orNone(o.MetricsAddress)}
	if o.MetricsSecure {
		out.SecureServing, out.CertDir = true, o.MetricsCertDir
		out.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return out
}

// addMetrics counts issuances and, where metrics are served, tells of the objects while this replica reconciles:
// those that wait to take its place see the same objects, and would tell of each once more.
func addMetrics(mgr ctrl.Manager, o Options, prober *probe.Prober) (*metrics.Issuances, error) {
	issued := metrics.NewIssuances(causes())
	if orNone(o.MetricsAddress) == "0" {
		return issued, nil
	}
	told := []prometheus.Collector{issued, metrics.NewObjects(mgr.GetClient(), prober.Results), collectors.NewBuildInfoCollector()}
	serve := func(ctx context.Context) error {
		for _, c := range told {
			if err := ctrlmetrics.Registry.Register(c); err != nil {
				return fmt.Errorf("register metrics: %w", again(err))
			}
			defer ctrlmetrics.Registry.Unregister(c)
		}
		<-ctx.Done()
		return nil
	}
	if err := mgr.Add(manager.RunnableFunc(serve)); err != nil {
		return nil, fmt.Errorf("add the metrics: %w", err)
	}
	return issued, nil
}

// again explains why metrics are registered already.
func again(err error) error {
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return errors.New("another manager of this process serves them already")
	}
	return err
}

// causes are, by kind, why certificates are issued.
func causes() map[string][]string {
	leaf := make([]string, 0, len(plan.Causes))
	for _, c := range plan.Causes {
		leaf = append(leaf, string(c))
	}
	ca := []string{string(plan.SecretMissing)} // the first one
	for _, c := range plan.RotationCauses {
		ca = append(ca, string(c))
	}
	return map[string][]string{kindClusterCA: ca, kindAPIServerCertificate: leaf, kindNodeCredential: leaf}
}
