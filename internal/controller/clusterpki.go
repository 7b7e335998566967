package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
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
	"clusterpki.io/operator/internal/probe"
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
	// answers says whether an API server answers at a URL.
	answers func(ctx context.Context, url string) bool
}

func (b *base) clusterPKIs(allow []netip.Prefix) *clusterPKIs {
	return &clusterPKIs{
		answers: probe.Dialer{Allow: allow}.Answers,
		base:    *b, Binder: binding.Binder{Client: b.client, Live: b.live, Home: b.home, Wrote: b.wrote},
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
	kept     bool // whether the record of what it makes is stored: a status that tells of hosts is a trace of that
	view     families.View
	reach    cluster.Reach
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
	v.known, v.kept = true, family.Version != ""
	next := family.Next()
	if err := r.reach(c, next, &v); err != nil {
		return v, err
	}
	if v.wanted, err = cluster.Expand(c, v.reach.Names); err != nil { // nothing is changed
		return v, err
	}
	if err := r.mayBegin(ctx, c, v); err != nil {
		return v, err
	}
	if err := r.decide(c, next, &v); err != nil {
		return v, err
	}
	if family, err = r.recorded(ctx, family, next); err != nil {
		return v, err
	}
	v.kept = true
	gone := going(v.removals)
	if len(gone) > 0 {
		if err := r.EnsureFresh(ctx, c); err != nil { // a host may be back
			return v, err
		}
	}
	v.result, err = r.families.Bring(ctx, family, v.view, families.Plan{Wanted: v.wanted, Gone: gone, MaxUnavailable: c.Spec.Rotation.MaxUnavailable})
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

// reach enters into the record by which names the API servers are reached.
func (r *clusterPKIs) reach(c *v1alpha1.ClusterPKI, next *authority.Family, v *clusterView) error {
	var names cluster.Names
	if err := recall(next, next.Names, &names); err != nil {
		return err
	}
	v.reach = names.Reach(c, v.view.WithBeside(), r.clock.Now())
	return record(&next.Names, v.reach.Names)
}

// recall reads what the record of a family has from another package; nothing where it was never written.
func recall(f *authority.Family, text json.RawMessage, to any) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, to); err != nil {
		return stall.Because(v1alpha1.ReasonLedgerUnreadable, "what Secret %q says: %v: restore it from a backup",
			authority.FamilyName(f.Namespace, f.Name), err)
	}
	return nil
}

func record(to *json.RawMessage, what any) (err error) {
	if *to, err = json.Marshal(what); err != nil {
		return fmt.Errorf("encode what is recorded of a ClusterPKI: %w", err)
	}
	return nil
}

// decide enters into the record what follows from the spec: which trigger each CA has, which hosts have left, and what is to be made.
func (r *clusterPKIs) decide(c *v1alpha1.ClusterPKI, next *authority.Family, v *clusterView) error {
	var texts cluster.Triggers
	if err := recall(next, next.Triggers, &texts); err != nil {
		return err
	}
	texts = texts.Observe(c)
	v.triggers = texts.Rotations(c, caStates(v.view))
	v.wanted.Rotate(v.triggers)
	if err := record(&next.Triggers, texts); err != nil {
		return err
	}
	before := cluster.History{Left: next.Left}
	if err := recall(next, next.Removed, &before.Gone); err != nil {
		return err
	}
	v.removals = cluster.Removes(c.Spec.Removal, recordedChildren(next, v.view), v.wanted, before, r.clock.Now())
	if err := record(&next.Removed, v.removals.Gone); err != nil {
		return err
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
		bytes.Equal(was.Names, next.Names) && bytes.Equal(was.Removed, next.Removed):
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
