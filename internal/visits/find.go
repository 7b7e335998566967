package visits

import (
	"context"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
)

// Field indexes of the cache: no reconciliation lists what it can look up.
const (
	CAIndex     = "caNames"     // ClusterCAs that an object depends on
	ServerIndex = "apiServer"   // the APIServerCertificate that a NodeCredential names
	SecretIndex = "secretNames" // Secrets that an object asks for
	HostIndex   = "hostName"    // the host that an object is for
	AgentIndex  = "agent"       // the host for whose agent a Role or RoleBinding was made, as agents.Host has it
)

// AddIndexes adds them to a cache.
func AddIndexes(ctx context.Context, idx client.FieldIndexer) error {
	for _, k := range v1alpha1.Kinds() {
		for field, of := range map[string]func(v1alpha1.Object) []string{CAIndex: v1alpha1.Object.CANames, SecretIndex: v1alpha1.Object.SecretNames} {
			if err := idx.IndexField(ctx, k.New(), field, ours(of)); err != nil {
				return fmt.Errorf("index %s by %s: %w", k.Name, field, err)
			}
		}
	}
	if err := idx.IndexField(ctx, &v1alpha1.NodeCredential{}, ServerIndex, serverNames); err != nil {
		return fmt.Errorf("index NodeCredential by %s: %w", ServerIndex, err)
	}
	for _, o := range []client.Object{&v1alpha1.NodeCredential{}, &v1alpha1.APIServerCertificate{}} {
		if err := idx.IndexField(ctx, o, HostIndex, hostNames); err != nil {
			return fmt.Errorf("index %T by %s: %w", o, HostIndex, err)
		}
	}
	for _, o := range []client.Object{&rbacv1.Role{}, &rbacv1.RoleBinding{}} {
		if err := idx.IndexField(ctx, o, AgentIndex, agentOf); err != nil {
			return fmt.Errorf("index %T by %s: %w", o, AgentIndex, err)
		}
	}
	if err := idx.IndexField(ctx, &v1alpha1.APIServerCertificate{}, AccountKeyIndex, accountKeyNames); err != nil {
		return fmt.Errorf("index APIServerCertificate by %s: %w", AccountKeyIndex, err)
	}
	return nil
}

// ours lets what our kinds share be asked of any object.
func ours(of func(v1alpha1.Object) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		if own, ok := o.(v1alpha1.Object); ok {
			return of(own)
		}
		return nil
	}
}

func serverNames(o client.Object) []string {
	if c, ok := o.(*v1alpha1.NodeCredential); ok && c.Spec.APIServerRef != nil {
		return []string{c.Spec.APIServerRef.Name}
	}
	return nil
}

func hostNames(o client.Object) []string {
	if host := v1alpha1.HostName(o); host != "" {
		return []string{host}
	}
	return nil
}

// agentHosts are the hosts to which an agent delivers what is issued for an object.
func agentHosts(o client.Object) []string {
	if host := v1alpha1.AgentHost(o); host != "" {
		return []string{host}
	}
	return nil
}

func agentOf(o client.Object) []string {
	if host, ok := agents.HostOf(o.GetAnnotations()); ok {
		return []string{host.String()}
	}
	return nil
}

// Dependents are the objects that depend on others, as a cache knows them.
type Dependents struct {
	Cache client.Reader
	Clock clock.PassiveClock
}

// Finder finds the objects that depend on another one, of those that keep says; a nil keep stands for all.
type Finder func(ctx context.Context, o client.Object, keep func(client.Object) bool) []Dependent

// Of maps an object to those of a kind that an index names it in.
func (d Dependents) Of(list func() client.ObjectList, field string) Finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []Dependent {
		found := list()
		if !d.lookUp(ctx, o, field, o.GetName(), found) {
			return nil
		}
		return d.in(found, keep)
	}
}

// Among finds those of a kind, in the namespace of an object, that a function picks.
func (d Dependents) Among(list func() client.ObjectList, which func(client.Object) bool) Finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []Dependent {
		found := list()
		if err := d.Cache.List(ctx, found, client.InNamespace(o.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "Could not list what depends on an object", "object", klog.KObj(o))
			return nil
		}
		return d.in(found, func(o client.Object) bool { return which(o) && (keep == nil || keep(o)) })
	}
}

// Below finds what depends on a CA, and on the CAs below it: their bundles are its.
func (d Dependents) Below(find Finder) Finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []Dependent {
		out := find(ctx, o, keep)
		known, next := map[string]bool{o.GetName(): true}, []client.Object{o}
		for len(next) > 0 {
			var children v1alpha1.ClusterCAList
			if !d.lookUp(ctx, o, CAIndex, next[0].GetName(), &children) {
				return out
			}
			next = next[1:]
			for i := range children.Items {
				child := &children.Items[i]
				if known[child.Name] {
					continue
				}
				known[child.Name], next = true, append(next, child)
				out = append(out, find(ctx, child, keep)...)
			}
		}
		return out
	}
}

// ThroughServers maps a ClusterCA's name to the NodeCredentials whose API server's certificate it signs: their
// kubeconfigs hold its bundle.
func (d Dependents) ThroughServers() Finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []Dependent {
		var servers v1alpha1.APIServerCertificateList
		if !d.lookUp(ctx, o, CAIndex, o.GetName(), &servers) {
			return nil
		}
		var out []Dependent
		for i := range servers.Items {
			var credentials v1alpha1.NodeCredentialList
			if !d.lookUp(ctx, o, ServerIndex, servers.Items[i].Name, &credentials) {
				return nil
			}
			out = append(out, d.in(&credentials, keep)...)
		}
		return out
	}
}

// lookUp lists by an index in the namespace of an object that changed. An error is logged: the next timed
// visit heals a missed event.
func (d Dependents) lookUp(ctx context.Context, changed client.Object, field, value string, into client.ObjectList) bool {
	err := d.Cache.List(ctx, into, client.InNamespace(changed.GetNamespace()), client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "Could not list what depends on an object", "object", klog.KObj(changed))
	}
	return err == nil
}

func (d Dependents) in(list client.ObjectList, keep func(client.Object) bool) []Dependent {
	var out []Dependent
	//nolint:errcheck // it fails on what is no list, and the function never does
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok && (keep == nil || keep(o)) {
			out = append(out, dependentOn(o, d.Clock.Now()))
		}
		return nil
	})
	return out
}

// ownerName is the name of the object of a kind that o was made for, "" for none.
func ownerName(o client.Object, kind string) string {
	name, ok := strings.CutPrefix(o.GetAnnotations()[v1alpha1.OwnerAnnotation], kind+"/")
	if !ok {
		return ""
	}
	return name
}
