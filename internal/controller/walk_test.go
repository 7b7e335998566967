package controller_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// later lets time pass while no operator runs: none of its writes is cut in two by the clock. Another one then does
// what there is to do.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	w.settled()
	w.restartAt(w.clock.Now().Add(d))
	w.settled()
}

// ledger reads a CA's ledger, the only truth about where its rotation stands.
func (w *world) ledger(ca string) plan.Ledger {
	w.t.Helper()
	return w.record(ca).Ledger
}

// phases are those of a whole replacement that a test can stop at.
var phases = []plan.Phase{plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust}

// walk lets a CA's replacement go on to its end, and does something when it is first in each phase. It returns the
// phases in their order.
func (w *world) walk(ca string, at func(plan.Phase)) []plan.Phase {
	w.t.Helper()
	var existing []plan.Phase
	still := 0
	for range 60 {
		w.settled()
		phase := w.ledger(ca).Phase()
		if phase != plan.Completed && !slices.Contains(existing, phase) {
			existing = append(existing, phase)
			if at != nil {
				at(phase)
				w.settled()
			}
		}
		if still++; phase != plan.Completed {
			still = 0
		}
		if still == 3 {
			return existing
		}
		w.later(13 * time.Minute)
	}
	w.t.Fatalf("the replacement of %s does not end: %+v; pending are %v", ca, w.ledger(ca), pendingOf(w.clusterCA(ca)))
	return nil
}

func (w *world) clusterCA(name string) *v1alpha1.ClusterCA {
	w.t.Helper()
	var ca v1alpha1.ClusterCA
	w.get(name, &ca)
	return &ca
}

// replaced lets a replacement go on to its end, and says what is wrong with that.
func (w *world) replaced(ca string, at func(plan.Phase)) {
	w.t.Helper()
	existing := w.walk(ca, at)
	if !slices.Equal(existing, phases) {
		w.t.Errorf("the phases were %v", existing)
	}
	w.whole(ca)
}

// whole says whether a CA has one generation, that of its spec, and nothing else is left of any.
func (w *world) whole(ca string) {
	w.t.Helper()
	l := w.ledger(ca)
	if len(l.Generations) != 1 || l.Phase() != plan.Completed {
		w.t.Errorf("the ledger is %+v", l)
	}
	if keys := slices.DeleteFunc(slices.Collect(maps.Keys(w.authoritySecret(ca).Data)), func(k string) bool { return !strings.HasSuffix(k, ".key") }); len(keys) != 1 {
		w.t.Errorf("the keys %v are left", keys)
	}
}

// validity edits the field that replaces a CA.
func (w *world) validity(ca string, n int) {
	w.t.Helper()
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(n) })
}

// serials are those of all certificates that were issued to consumers, by Secret.
func (w *world) serials() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	var secrets corev1.SecretList
	w.list(&secrets)
	for _, s := range secrets.Items {
		if len(s.Data["tls.crt"]) > 0 {
			out[s.Name] = fmt.Sprintf("%x", w.pair(s.Name).Cert.SerialNumber)
		}
	}
	return out
}
