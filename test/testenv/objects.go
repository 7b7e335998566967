package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// objects sees and removes the objects of a control plane, whatever their kind.
type objects struct {
	discovery discovery.DiscoveryInterface
	metadata  metadata.Interface
	core      kubernetes.Interface
}

func newObjects(cfg *rest.Config) (*objects, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the control plane: %w", err)
	}
	all, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the control plane: %w", err)
	}
	return &objects{core.Discovery(), all, core}, nil
}

// object is where something lies.
type object struct {
	kind            schema.GroupVersionResource
	namespace, name string
}

func (o object) String() string { return o.kind.Resource + " " + o.namespace + "/" + o.name }

// snapshot holds for each object what changes with it: its UID, and more of what nobody changes all the time.
type snapshot map[object]string

// restless are what Kubernetes and the operator go on writing.
var restless = []string{"events", "leases", "endpoints", "endpointslices"}

// look lists everything.
func (o *objects) look(ctx context.Context) (snapshot, error) {
	lists, err := o.discovery.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("list the kinds: %w", err)
	}
	out := snapshot{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("list the kinds: %w", err)
		}
		for _, r := range list.APIResources {
			// The events of a group of their own are those of the core.
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") || gv.Group == "events.k8s.io" {
				continue
			}
			if err := o.list(ctx, gv.WithResource(r.Name), out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (o *objects) list(ctx context.Context, kind schema.GroupVersionResource, out snapshot) error {
	list, err := o.metadata.Resource(kind).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) { // it is served no longer
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", kind.Resource, err)
	}
	for _, i := range list.Items {
		out[object{kind, i.Namespace, i.Name}] = state(kind, i.ObjectMeta)
	}
	return nil
}

// state is of an object what a test changes. A status, which has no part in the generation, changes by itself.
func state(kind schema.GroupVersionResource, m metav1.ObjectMeta) string {
	switch {
	case slices.Contains(restless, kind.Resource):
		return string(m.UID)
	case m.Generation > 0:
		return fmt.Sprint(m.UID, m.Generation, m.Labels, m.Annotations, m.OwnerReferences, m.Finalizers, m.DeletionTimestamp)
	default:
		return string(m.UID) + m.ResourceVersion
	}
}

// pause is how long nothing is to change.
const pause = 300 * time.Millisecond

// settled looks until nothing changes any more.
func (o *objects) settled(ctx context.Context) (snapshot, error) {
	before, err := o.look(ctx)
	for err == nil {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the control plane does not come to rest: %w", ctx.Err())
		case <-time.After(pause):
		}
		var now snapshot
		if now, err = o.look(ctx); err == nil && maps.Equal(before, now) {
			return now, nil
		}
		before = now
	}
	return nil, err
}

// errChanged says that removing is not enough.
var errChanged = errors.New("it was changed")

// restore removes what was not there, until nothing else is there, and stays so.
func (o *objects) restore(ctx context.Context, want snapshot) error {
	for {
		now, err := o.settled(ctx)
		if err != nil {
			return err
		}
		for obj, state := range want {
			// Events go by themselves, and a leader gives its Lease back.
			if now[obj] != state && !slices.Contains(restless, obj.kind.Resource) {
				return fmt.Errorf("%w: %s", errChanged, obj)
			}
			delete(now, obj)
		}
		if len(now) == 0 {
			return nil
		}
		if err := o.remove(ctx, slices.Collect(maps.Keys(now))); err != nil {
			return err
		}
	}
}

// remove deletes objects, and namespaces once they are empty: no controller empties them here.
func (o *objects) remove(ctx context.Context, all []object) error {
	slices.SortFunc(all, func(a, b object) int { return strings.Compare(rank(a), rank(b)) })
	for _, obj := range all {
		if isNamespace(obj) && !isNamespace(all[0]) {
			return nil // the next time
		}
		err := o.metadata.Resource(obj.kind).Namespace(obj.namespace).Delete(ctx, obj.name,
			metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground), GracePeriodSeconds: new(int64(0))})
		if err == nil && isNamespace(obj) {
			_, err = o.core.CoreV1().Namespaces().Finalize(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: obj.name}}, metav1.UpdateOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("remove %s: %w", obj, err)
		}
	}
	return nil
}

func isNamespace(o object) bool { return o.kind.Group == "" && o.kind.Resource == "namespaces" }

// rank orders what is removed: what makes others first, namespaces last.
func rank(o object) string {
	switch {
	case o.kind.Group == "admissionregistration.k8s.io":
		return "0"
	case o.kind.Group == "clusterpki.io":
		return "1"
	case isNamespace(o):
		return "3"
	default:
		return "2"
	}
}
