package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// eventually waits until check answers nil.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	testenv.Eventually(w.t, what, check)
}

// soon is eventually, for checks that may be made more often.
func (w *world) soon(every time.Duration, what string, check func() error) {
	w.t.Helper()
	testenv.EventuallyEvery(w.t, every, what, check)
}

// settled waits until every operator has visited every object and has nothing left to do.
func (w *world) settled() {
	w.t.Helper()
	w.soon(20*time.Millisecond, "the operator is idle", w.rest())
}

// rest returns a function that says whether every operator has nothing left to do.
func (w *world) rest() func() error {
	w.t.Helper()
	var all []func() error
	for _, o := range slices.Concat([]*world{w}, w.others, w.beside) {
		all = append(all, o.idleness())
	}
	return func() error {
		var errs []error
		for _, idle := range all {
			errs = append(errs, idle())
		}
		return errors.Join(errs...)
	}
}

// idleness returns a function that says, from the tenth time in a row on, whether the operator has visited every object since
// it started, and has nothing left to do.
func (w *world) idleness() func() error {
	w.t.Helper()
	objects := 0
	for name := range w.versions() {
		if strings.Contains(name, "v1alpha1.") {
			objects++
		}
	}
	quiet, requests := 0, int64(0)
	return func() error {
		running, visits := w.progress.Visits()
		made, lost := w.requests.Load(), w.lost.Load()
		again := lost != nil && time.Since(*lost) < 1500*time.Millisecond
		if visits < objects || running > 0 || made != requests || w.flying.Load() > 0 || again {
			quiet, requests = 0, made
			return fmt.Errorf("%d visits are under way, %d have ended, %d requests were made", running, visits, made)
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
	if w.ice.Load() != nil {
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
