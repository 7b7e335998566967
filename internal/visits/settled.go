package visits

import (
	"crypto/sha256"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/queue"
)

// Settled remembers what the last visit to each object was made from, where it left nothing to do: one that would be made from the
// same renders, parses and verifies nothing. Nothing depends on them.
type Settled struct {
	mu sync.Mutex
	of map[types.NamespacedName]visit
}

type visit struct {
	inputs [sha256.Size]byte
	until  time.Time // when its answer changes by itself; zero: never
}

// Unchanged says whether a visit would be made from the same as the last one, and its answer still holds; then also for how long.
func (v *Settled) Unchanged(name types.NamespacedName, inputs [sha256.Size]byte, now time.Time) (ctrl.Result, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, known := v.of[name]
	switch {
	case !known || last.inputs != inputs:
		return ctrl.Result{}, false
	case last.until.IsZero():
		return ctrl.Result{}, true
	default:
		return ctrl.Result{RequeueAfter: last.until.Sub(now), Priority: queue.Repair.Priority()}, now.Before(last.until)
	}
}

// Note remembers a visit, after which the object is settled or not.
func (v *Settled) Note(name types.NamespacedName, inputs [sha256.Size]byte, settled bool, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !settled {
		delete(v.of, name)
		return
	}
	if v.of == nil {
		v.of = map[types.NamespacedName]visit{}
	}
	v.of[name] = visit{inputs, until}
}

// SettledAfter says whether a visit left an object as it should be, with nothing to wait for, and until when that holds.
func SettledAfter(o v1alpha1.Object, now time.Time, result ctrl.Result, err error) (settled bool, until time.Time) {
	conds := *o.StatusConditions()
	settled = err == nil && meta.IsStatusConditionTrue(conds, v1alpha1.ReadyCondition) &&
		meta.FindStatusCondition(conds, v1alpha1.ReconcilingCondition) == nil && meta.FindStatusCondition(conds, v1alpha1.StalledCondition) == nil
	if result.RequeueAfter > 0 {
		until = now.Add(result.RequeueAfter)
	}
	return settled, until
}
