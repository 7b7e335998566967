package visits

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// stuckAfter is how long reconciliations may be under way without one of them ending. Each has a deadline of its own, so that
// beyond it something hangs which does not end by that, and only a restart helps.
const stuckAfter = 2 * Timeout

// Progress tells whether reconciliations come to an end, by the machine's own clock.
type Progress struct {
	mu      sync.Mutex
	running int
	ended   int       // how many have
	since   time.Time // since when none has ended, while some are running
}

func (p *Progress) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == 0 {
		p.since = now
	}
	p.running++
}

func (p *Progress) end(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.ended++
	p.since = now
}

// stuck says that nothing comes to an end.
func (p *Progress) stuck(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := now.Sub(p.since); p.running > 0 && d > stuckAfter {
		return fmt.Errorf("%d reconciliations are under way, and none has ended for %s", p.running, d.Round(time.Second))
	}
	return nil
}

// Check is the health probe: it says that nothing comes to an end.
func (p *Progress) Check(*http.Request) error { return p.stuck(time.Now()) } //nolint:forbidigo // how long ago, not what time it is

// Visits are how many reconciliations are under way, and how many have ended.
func (p *Progress) Visits() (running, ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.ended
}

// Timed is a reconciler whose work counts as progress.
func Timed[request comparable](r reconcile.TypedReconciler[request], p *Progress) reconcile.TypedReconciler[request] {
	return timed[request]{r, p}
}

type timed[request comparable] struct {
	reconcile.TypedReconciler[request]
	progress *Progress
}

func (t timed[request]) Reconcile(ctx context.Context, req request) (ctrl.Result, error) {
	t.progress.begin(time.Now())                  //nolint:forbidigo // how long ago, not what time it is
	defer func() { t.progress.end(time.Now()) }() //nolint:forbidigo // how long ago, not what time it is
	return t.TypedReconciler.Reconcile(ctx, req)  //nolint:wrapcheck // it is the reconciler's own
}
