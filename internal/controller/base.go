package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/metrics"
)

// base is what every reconciler here needs.
type base struct {
	client client.Client // reads objects of ours from the cache, and waits for its own writes to appear there
	live   client.Reader // reads from the API server
	events events.EventRecorder
	counts *metrics.Counts // of what happens
	clock  clock.PassiveClock
	poll   time.Duration // how often an open gate is looked at
}

const (
	// raceDelay is how soon to read again after losing a race for a write.
	raceDelay = time.Second
	// stalledDelay is how often to look whether a person has cured a stalled object by changing
	// something that the cache does not see, such as a Secret that is not ours.
	stalledDelay = time.Minute
)

// result turns the end of a reconciliation into what controller-runtime should do next. A stalled
// object keeps its timer, which returning an error would drop: its certificate still expires.
func (b *base) result(err error, nextCheck time.Time) (ctrl.Result, error) {
	if lostRace(err) {
		return ctrl.Result{RequeueAfter: raceDelay}, nil
	}
	var st *stall
	isStalled := errors.As(err, &st)
	if err != nil && !isStalled {
		return ctrl.Result{}, err
	}
	var after time.Duration
	if !nextCheck.IsZero() {
		after = max(time.Second, nextCheck.Sub(b.clock.Now()))
	}
	if isStalled && (after == 0 || after > stalledDelay) {
		after = stalledDelay
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// sooner is the earlier of two times, of which the zero one does not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// lostRace says whether somebody else wrote first: what was decided is void, and no news for a status.
func lostRace(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// get reads the object to reconcile; found is false when it is gone or going.
func (b *base) get(ctx context.Context, req ctrl.Request, o client.Object) (found bool, err error) {
	err = b.client.Get(ctx, req.NamespacedName, o)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", req, err)
	}
	return o.GetDeletionTimestamp().IsZero(), nil
}
