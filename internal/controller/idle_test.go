package controller_test

import (
	"errors"
	"slices"
	"time"

	"clusterpki.io/operator/test/testenv"
)

// eventually waits until check answers nil.
func (w *env) eventually(what string, check func() error) {
	w.t.Helper()
	testenv.Eventually(w.t, what, check)
}

// soon is eventually, for checks that may be made more often.
func (w *env) soon(every time.Duration, what string, check func() error) {
	w.t.Helper()
	testenv.EventuallyEvery(w.t, every, what, check)
}

// settled waits until every operator has visited every object and has nothing left to do.
func (w *env) settled() {
	w.t.Helper()
	w.soon(20*time.Millisecond, "the operator is idle", w.rest())
}

// rest returns a function that says whether every operator has nothing left to do.
func (w *env) rest() func() error {
	w.t.Helper()
	var all []func() error
	for _, o := range slices.Concat([]*env{w}, w.others, w.beside) {
		idle, err := o.mgr.Idleness(w.t.Context(), w.api, o.ns, func() bool { return o.frozen.Load() != nil })
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
