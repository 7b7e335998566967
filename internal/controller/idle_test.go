package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/api/v1alpha1"
)

// settled waits until the operator started last has visited every object and has nothing left to do.
func (w *world) settled() {
	w.t.Helper()
	w.eventually("the operator is idle", w.rest())
}

// rest returns a function that says, at the tenth time in a row, whether the operator started last has visited every
// object and has nothing left to do.
func (w *world) rest() func() error {
	w.t.Helper()
	objects := 0
	for name := range w.versions() {
		if strings.Contains(name, "v1alpha1.") {
			objects++
		}
	}
	quiet, requests := 0, int64(0)
	return func() error {
		busy, visits := load(w.t)
		if w.lone {
			busy = w.busy
		}
		made := w.requests.Load()
		if int(visits-w.visits) < objects || busy > w.busy || made != requests || w.flying.Load() > 0 {
			quiet, requests = 0, made
			return fmt.Errorf("%v objects wait, %v were visited, %d requests were made", busy-w.busy, visits-w.visits, made)
		}
		if quiet++; quiet < 10 {
			return errors.New("not idle for long enough")
		}
		if err := w.behind(); err != nil {
			quiet = 0
			return err
		}
		return nil
	}
}

// behind says what the cache of the operator's manager does not have yet: the event of it is on its way, and brings a visit.
func (w *world) behind() error {
	if w.ice.Load() != nil || w.lone {
		return nil
	}
	for _, list := range []func() client.ObjectList{
		func() client.ObjectList { return &v1alpha1.ClusterCAList{} }, func() client.ObjectList { return &v1alpha1.APIServerCertificateList{} },
		func() client.ObjectList { return &v1alpha1.NodeCredentialList{} }, func() client.ObjectList { return &corev1.SecretList{} },
		func() client.ObjectList { return &corev1.ConfigMapList{} }, func() client.ObjectList { return &coordinationv1.LeaseList{} },
	} {
		live, err := versionsIn(w, w.api, list())
		if err != nil {
			return err
		}
		cached, err := versionsIn(w, w.mgr.GetCache(), list())
		if err != nil {
			return err
		}
		if !maps.Equal(live, cached) {
			return fmt.Errorf("the cache is behind: %v instead of %v", cached, live)
		}
	}
	return nil
}

// versionsIn are the resource versions of what an operator's cache is to hold.
func versionsIn(w *world, from client.Reader, list client.ObjectList) (map[string]string, error) {
	if err := from.List(context.Background(), list, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	out := map[string]string{}
	for _, item := range items {
		o := item.(client.Object)
		if _, ours := o.(v1alpha1.Object); ours || o.GetLabels()[v1alpha1.ManagedLabel] == v1alpha1.ManagedValue {
			out[fmt.Sprintf("%T %s", o, o.GetName())] = o.GetResourceVersion()
		}
	}
	return out, err
}

// load reads controller-runtime's own metrics: how many objects wait, and how many reconciliations there ever were.
func load(t testing.TB) (busy, visits float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "workqueue_depth":
				busy += m.GetGauge().GetValue()
			case "controller_runtime_reconcile_total":
				visits += m.GetCounter().GetValue()
			}
		}
	}
	return busy, visits
}
