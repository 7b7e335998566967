package visits

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/queue"
)

// What an agent may do follows from all objects of its host. A request is for a host: its namespace, and its name.

// agentPace is how long a visit waits for further events of a host: its objects, and what is made for them, come one by one.
const agentPace = time.Second

// AgentHosts brings visits to the hosts of agents.
type AgentHosts struct {
	Cache client.Reader
	pace  pace // of what others change and delete
}

// hostsOf are the hosts that an object concerns.
type hostsOf func(ctx context.Context, o client.Object) []types.NamespacedName

// Objects handles the events of what is for a host, in whatever mode it is delivered: an agent keeps its identity while there is anything of its host.
func (a *AgentHosts) Objects() Handler {
	of := func(_ context.Context, o client.Object) []types.NamespacedName {
		return named(o.GetNamespace(), hostNames(o))
	}
	return a.handler(of, func(was, now client.Object) bool {
		return was.GetGeneration() != now.GetGeneration() || was.GetUID() != now.GetUID()
	}, false)
}

// Products handles the events of Secrets and Leases that were made for what is for a host. A renewal changes nothing.
func (a *AgentHosts) Products() Handler {
	return a.handler(a.throughOwner, func(was, now client.Object) bool {
		before, after := consumers.Unsealed(was.GetAnnotations()), consumers.Unsealed(now.GetAnnotations())
		return before.UID != after.UID || before.SpecHash != after.SpecHash || owned.IsCut(was) != owned.IsCut(now) || ofOwner(was) != ofOwner(now)
	}, true)
}

// Grants handles the events of what agents were given: ServiceAccounts, Roles and RoleBindings.
func (a *AgentHosts) Grants() Handler {
	of := func(_ context.Context, o client.Object) []types.NamespacedName {
		h, ok := agents.HostOf(o.GetAnnotations())
		if !ok {
			return nil
		}
		return []types.NamespacedName{{Namespace: h.Namespace, Name: h.Name}}
	}
	return a.handler(of, func(was, now client.Object) bool { return was.GetResourceVersion() != now.GetResourceVersion() }, true)
}

func ofOwner(o client.Object) string { return o.GetAnnotations()[v1alpha1.OwnerAnnotation] }

// throughOwner are the hosts of the object that something was made for.
func (a *AgentHosts) throughOwner(ctx context.Context, o client.Object) []types.NamespacedName {
	d := Dependents{Cache: a.Cache}
	if name := ownerName(o, v1alpha1.KindServiceAccountKey); name != "" {
		k := &v1alpha1.ServiceAccountKey{}
		k.Namespace, k.Name = o.GetNamespace(), name
		var servers v1alpha1.APIServerCertificateList
		if !d.lookUp(ctx, k, AccountKeyIndex, name, &servers) {
			return nil
		}
		var out []types.NamespacedName
		for i := range servers.Items {
			out = append(out, named(o.GetNamespace(), agentHosts(&servers.Items[i]))...)
		}
		return out
	}
	for kind, owner := range map[string]client.Object{
		v1alpha1.KindNodeCredential: &v1alpha1.NodeCredential{}, v1alpha1.KindAPIServerCertificate: &v1alpha1.APIServerCertificate{},
	} {
		name := ownerName(o, kind)
		if name == "" {
			continue
		}
		if err := a.Cache.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: name}, owner, client.UnsafeDisableDeepCopy); err != nil {
			if client.IgnoreNotFound(err) != nil {
				log.FromContext(ctx).Error(err, "Could not read whose it is", "object", klog.KObj(o))
			}
			return nil
		}
		return named(o.GetNamespace(), agentHosts(owner))
	}
	return nil
}

func named(namespace string, hosts []string) []types.NamespacedName {
	var out []types.NamespacedName
	for _, h := range hosts {
		out = append(out, types.NamespacedName{Namespace: namespace, Name: h})
	}
	return out
}

// handler brings visits to hosts because of events, of updates those that changed says. Where paced is set, whoever changes and deletes again and again
// has it looked at ever more seldom.
func (a *AgentHosts) handler(of hostsOf, changed func(was, now client.Object) bool, paced bool) Handler {
	visit := func(q Queue, class queue.Class, paced bool, hosts ...types.NamespacedName) {
		for _, h := range hosts {
			req, after := reconcile.Request{NamespacedName: h}, agentPace
			if paced {
				after += a.pace.delay(req, time.Now()) //nolint:forbidigo // how long ago, not what time it is
			}
			enqueueAfter(q, class, req, after)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) {
			visit(q, atStart(e.IsInInitialList, queue.Urgent), false, of(ctx, e.Object)...)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
			if changed(e.ObjectOld, e.ObjectNew) {
				visit(q, queue.Repair, paced, merged(of(ctx, e.ObjectOld), of(ctx, e.ObjectNew))...)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q Queue) {
			visit(q, queue.Repair, paced, of(ctx, e.Object)...)
		},
	}
}

// merged are the hosts of an object before and after a change, each once.
func merged(was, now []types.NamespacedName) []types.NamespacedName {
	out := now
	for _, h := range was {
		if len(now) != 1 || now[0] != h {
			out = append(out, h)
		}
	}
	return out
}
