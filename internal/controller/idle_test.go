package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/metrics"
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
		return nil
	}
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
