package controller_test

import (
	"errors"
	"slices"
	"time"

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
		idle, err := o.mgr.Idleness(w.t.Context(), w.api, o.ns, func() bool { return o.ice.Load() != nil })
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, idle)
	}
	return func() error {
		var errs []error
		for _, idle := range all {
			errs = append(errs, idle())
		}
		return errors.Join(errs...)
	}
}
