package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/families"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/stall"
)

// What a ClusterPKI makes, and which rights the policies of its children ask of whoever writes them.
// +kubebuilder:rbac:groups=clusterpki.io,resources=clusterpkis,verbs=get;list;watch
// +kubebuilder:rbac:groups=clusterpki.io,resources=clusterpkis/status,verbs=patch
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas;serviceaccountkeys,verbs=create;patch;acknowledge;approve;rotate;trust
// +kubebuilder:rbac:groups=clusterpki.io,resources=serviceaccountkeys,verbs=issue
// +kubebuilder:rbac:groups=clusterpki.io,resources=apiservercertificates;nodecredentials,verbs=create;patch;delete;acknowledge
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/ca;clustercas/apiserver;clustercas/kubelet;clustercas/kubeletserving,verbs=issue
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/controllermanager;clustercas/scheduler;clustercas/admin,verbs=issue
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/frontproxyclient;clustercas/etcdserver;clustercas/etcdpeer;clustercas/etcdclient,verbs=issue
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/etcdhealthcheckclient;clustercas/host,verbs=issue
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/kubeproxy;clustercas/apiserverkubeletclient,verbs=issue
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=clusterpkis.clusterpki.io,verbs=get

// clusterPKIs reconciles ClusterPKIs.
type clusterPKIs struct {
	base
	binding.Binder
	families *families.Maker
}

func (b *base) clusterPKIs() *clusterPKIs {
	return &clusterPKIs{
		base: *b, Binder: binding.Binder{Client: b.client, Live: b.live, Home: b.home, Wrote: b.wrote},
		families: &families.Maker{Client: b.client, Live: b.live, Store: b.store},
	}
}

// Reconcile brings what one ClusterPKI makes to what its spec asks for. Each visit makes, changes or removes a part.
func (r *clusterPKIs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.ClusterPKI
	if found, err := r.get(ctx, req, &c); !found {
		return skipped(err) // what it has made stays, and the record of that
	}
	v, err := r.reconcile(ctx, &c)
	err = refused(stall.First(v.problem(err)...))
	result, failed := r.finish(ctx, &c, v, err)
	if failed == nil && v.result.Left > 0 && v.result.Work() {
		return ctrl.Result{RequeueAfter: time.Millisecond, Priority: queue.Mass.Priority()}, nil // others' come in between
	}
	return result, failed
}

// clusterView is how a cluster stands at the end of a reconciliation, as far as that is known.
type clusterView struct {
	known    bool // whether what there is was looked at
	view     families.View
	wanted   cluster.Children
	removals cluster.Removals
	triggers map[string]cluster.Trigger
	result   families.Result
}

// reconcile makes, changes and removes children.
func (r *clusterPKIs) reconcile(ctx context.Context, c *v1alpha1.ClusterPKI) (clusterView, error) {
	var v clusterView
	family, err := r.family(ctx, c)
	if err != nil {
		return v, err
	}
	if v.view, err = r.families.Look(ctx, family); err != nil {
		return v, err
	}
	v.known = true
	if v.wanted, err = cluster.Expand(c); err != nil { // nothing is changed
		return v, err
	}
	next := family.Next()
	if err := r.decide(c, next, &v); err != nil {
		return v, err
	}
	if family, err = r.recorded(ctx, family, next); err != nil {
		return v, err
	}
	gone := going(v.removals)
	if len(gone) > 0 {
		if err := r.EnsureFresh(ctx, c); err != nil { // a host may be back
			return v, err
		}
	}
	v.result, err = r.families.Bring(ctx, family, v.view, v.wanted, gone)
	return v, err
}

// family is the record of a ClusterPKI's children, bound to this object. A new one is not stored yet.
func (r *clusterPKIs) family(ctx context.Context, c *v1alpha1.ClusterPKI) (*authority.Family, error) {
	if err := r.home.Ready(ctx, c.Namespace); err != nil {
		return nil, err
	}
	f, err := r.store.CachedFamily(ctx, c.Namespace, c.Name)
	switch {
	case authority.IsUnreadable(err):
		return nil, stall.Because(v1alpha1.ReasonLedgerUnreadable, "%v: restore it from a backup", err)
	case err != nil:
		return nil, err
	case f == nil:
		id, err := r.Begin(ctx, c, func() error { return r.noTraces(c) })
		return &authority.Family{Identity: id}, err
	}
	bound, err := r.Bound(c, f.Identity, zeroTime)
	if bound || err != nil {
		return f, err
	}
	id, err := r.Take(ctx, c, f.Identity)
	if err != nil {
		return nil, err
	}
	next := f.Next()
	next.Identity = id
	if f, err = r.store.CommitFamily(ctx, f, next); err == nil {
		log.FromContext(ctx).Info("Took up the objects of a ClusterPKI", "clusterPKI", klog.KObj(c))
	}
	return f, err
}

// noTraces says, as a stall, where a ClusterPKI has made objects already, and it is not known which.
func (r *clusterPKIs) noTraces(c *v1alpha1.ClusterPKI) error {
	if c.Status.Hosts == nil && !desired.Restored(c) {
		return nil
	}
	return stall.Because(v1alpha1.ReasonAuthorityMissing,
		"this ClusterPKI was there before, and the authority namespace %q has no Secret %q, which says which objects are of its making: restore that from a "+
			"backup, or run the operator with the authority namespace that has it. To begin anew, delete this ClusterPKI and what it has made",
		r.store.Namespace(), authority.FamilyName(c.Namespace, c.Name))
}

// decide enters into the record what follows from the spec: which trigger each CA has, which hosts have left, and what is to be made.
func (r *clusterPKIs) decide(c *v1alpha1.ClusterPKI, next *authority.Family, v *clusterView) error {
	var texts cluster.Triggers
	if len(next.Triggers) > 0 {
		if err := json.Unmarshal(next.Triggers, &texts); err != nil {
			return stall.Because(v1alpha1.ReasonLedgerUnreadable, "the triggers in Secret %q: %v: restore it from a backup",
				authority.FamilyName(c.Namespace, c.Name), err)
		}
	}
	texts = texts.Observe(c)
	v.triggers = texts.Rotations(c, caStates(v.view))
	v.wanted.Rotate(v.triggers)
	var err error
	if next.Triggers, err = json.Marshal(texts); err != nil {
		return fmt.Errorf("encode the triggers: %w", err)
	}
	before := cluster.History{Left: next.Left}
	if len(next.Removed) > 0 {
		if err := json.Unmarshal(next.Removed, &before.Gone); err != nil {
			return stall.Because(v1alpha1.ReasonLedgerUnreadable, "the removals in Secret %q: %v: restore it from a backup",
				authority.FamilyName(c.Namespace, c.Name), err)
		}
	}
	v.removals = cluster.Removes(c.Spec.Removal, recordedChildren(next, v.view), v.wanted, before, r.clock.Now())
	if next.Removed, err = json.Marshal(v.removals.Gone); err != nil {
		return fmt.Errorf("encode the removals: %w", err)
	}
	next.Left = v.removals.Left
	families.Reserve(next, v.wanted, v.view)
	return nil
}

// recorded stores what was decided, if it is anything new.
func (r *clusterPKIs) recorded(ctx context.Context, was, next *authority.Family) (*authority.Family, error) {
	switch {
	case was.Version == "":
		return r.store.CreateFamily(ctx, next)
	case maps.Equal(was.Children, next.Children) && maps.EqualFunc(was.Left, next.Left, time.Time.Equal) && bytes.Equal(was.Triggers, next.Triggers) &&
		bytes.Equal(was.Removed, next.Removed):
		return was, nil
	default:
		return r.store.CommitFamily(ctx, was, next)
	}
}

func recordedChildren(f *authority.Family, v families.View) []cluster.Recorded {
	out := make([]cluster.Recorded, 0, len(f.Children))
	for key, c := range f.Children {
		child := cluster.Recorded{Key: cluster.Key(key), Host: c.Host, Guarded: c.Guarded}
		if o := v.Children[child.Key]; o != nil {
			child.Made = o.GetCreationTimestamp().Time
		}
		out = append(out, child)
	}
	return out
}

// caStates are the ClusterCAs that there are.
func caStates(v families.View) map[string]cluster.CAState {
	out := map[string]cluster.CAState{}
	for _, o := range v.Children {
		if ca, ok := o.(*v1alpha1.ClusterCA); ok {
			out[ca.Name] = cluster.CAState{
				Trigger: ca.Spec.Rotation.Trigger,
				Settled: ca.Status.ObservedGeneration == ca.Generation && ca.Status.Rotation.Phase == "" && ca.Status.Certificate.SerialNumber != "",
			}
		}
	}
	return out
}

// going are the children that go now.
func going(r cluster.Removals) (out []cluster.Key) {
	for _, h := range r.Hosts {
		if h.Reason == "" {
			out = append(out, h.Children...)
		}
	}
	return out
}
