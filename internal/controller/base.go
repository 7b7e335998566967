package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/home"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/visits"
)

// base is what every reconciler here needs.
type base struct {
	client    client.Client // reads objects of ours from the cache, which may lag: see wrote
	live      client.Reader // reads from the API server
	events    events.EventRecorder
	counts    *metrics.Counts // of what happens
	clock     apitime.Timekeeper
	poll      time.Duration    // how often an open gate is looked at
	store     *authority.Store // what decides: ledgers and keys
	home      *home.Home       // the authority namespace
	wrote     *owned.Writes    // what the cache does not have yet
	secrets   owned.Secrets    // what the operator made
	leaves    *leaf.Maker
	recorder  *recorder // of what is issued
	reports   *reports  // what agents say, by what was recorded
	noAccess  *agentsRefused
	keys      keys
	announced *announced // of objects that another installation may serve
	// progress tells whether reconciliations come to an end.
	progress *visits.Progress
}

// zeroTime is no time.
var zeroTime time.Time

// keeper writes what the operator makes in users' namespaces.
func (b *base) keeper(ctx context.Context, namespace string) (*owned.Keeper, error) {
	if err := b.home.Ready(ctx, namespace); err != nil {
		return nil, err
	}
	seal, err := b.store.Seal(ctx)
	if err != nil {
		return nil, err
	}
	return &owned.Keeper{Client: b.client, Seal: seal, Holds: b.holds}, nil
}

const (
	// raceDelay is how soon to read again after losing a race for a write.
	raceDelay = time.Second
	// stalledDelay is how often to look whether a person has cured a stalled object by changing
	// something that the cache does not see, such as a Secret that is not ours.
	stalledDelay = time.Minute
)

// result turns the end of a reconciliation into what controller-runtime should do next. A stalled
// object keeps its timer, which returning an error would drop: its certificate still expires. What is tried again keeps the
// class that it came in; what is looked at when its time has come is repair.
func (b *base) result(err error, nextCheck time.Time, conditions ...metav1.Condition) (ctrl.Result, error) {
	if owned.LostRace(err) {
		return ctrl.Result{RequeueAfter: raceDelay}, nil
	}
	isStalled := stall.Is(err)
	if err != nil && !isStalled {
		return ctrl.Result{}, err
	}
	var after time.Duration
	if !nextCheck.IsZero() {
		after = max(time.Second, nextCheck.Sub(b.clock.Now()))
	}
	if delay := refusedDelay(b.clock.Now(), conditions); isStalled && (after == 0 || after > delay) {
		after = delay
	}
	return ctrl.Result{RequeueAfter: after, Priority: queue.Repair.Priority()}, nil
}

// sooner is the earlier of two times, of which the zero one does not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// get reads the object to reconcile; found is false when it is gone or going, or with an error.
func (b *base) get(ctx context.Context, req ctrl.Request, o v1alpha1.Object) (found bool, err error) {
	err = b.client.Get(ctx, req.NamespacedName, o)
	if apierrors.IsNotFound(err) {
		b.wrote.Forget(o.Kind(), req.NamespacedName)
		b.keys.forget(o.Kind(), req.NamespacedName)
		b.leaves.Forget(o.Kind(), req.NamespacedName)
		b.announced.forget(o.Kind(), req.NamespacedName)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", req, err)
	}
	if b.wrote.Newer(o.Kind(), o) {
		return false, owned.ErrBehind
	}
	return o.GetDeletionTimestamp().IsZero(), nil
}

// skipped is the end of a visit to an object that get has not found.
func skipped(err error) (ctrl.Result, error) {
	if errors.Is(err, owned.ErrBehind) {
		err = nil
	}
	return ctrl.Result{}, err
}
