package controller

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/visits"
)

// grantor writes what the agent of one host is given.
type grantor struct {
	*agentAccounts
	seal consumers.Sealer
	host agents.Host
}

func (g grantor) accountKey() client.ObjectKey {
	return client.ObjectKey{Namespace: g.namespace, Name: agents.AccountName(g.host.Namespace, g.host.Name)}
}

// account is the ServiceAccount that was made for the host; nil where there is none. One of its name that the operator did not make is a stall.
func (g grantor) account(ctx context.Context, from client.Reader) (*corev1.ServiceAccount, agents.Record, error) {
	a := &corev1.ServiceAccount{}
	err := from.Get(ctx, g.accountKey(), a)
	if apierrors.IsNotFound(err) {
		return nil, agents.Record{}, nil
	}
	if err != nil {
		return nil, agents.Record{}, fmt.Errorf("read ServiceAccount %q: %w", g.accountKey(), err)
	}
	record, ours := agents.RecordOf(g.seal, a)
	if !ours {
		return nil, agents.Record{}, stall.Because(v1alpha1.ReasonAgentAccountConflict,
			"ServiceAccount %q of namespace %q exists, and the operator did not make it, so it is left alone: delete it, and it is made", a.Name, a.Namespace)
	}
	return a, record, nil
}

// create makes the ServiceAccount and what it may do; nothing where the host's namespace is going.
func (g grantor) create(ctx context.Context, wanted map[string][]rbacv1.PolicyRule) error {
	ns, err := g.namespaceOf(ctx)
	if ns == nil {
		return err
	}
	record := agents.Record{Host: g.host, NamespaceUID: ns.UID, Grants: map[string]string{}}
	for namespace, rules := range wanted {
		if len(rules) > 0 {
			record.Grants[namespace] = newName()
		}
	}
	a, err := agents.Account(g.seal, g.namespace, record)
	if err != nil {
		return err
	}
	switch err := g.client.Create(ctx, a); {
	case apierrors.IsAlreadyExists(err):
		there, of, err := g.account(ctx, g.live)
		if there == nil {
			return err
		}
		return g.bring(ctx, there, of, wanted)
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return stall.Because(v1alpha1.ReasonAgentsNotReady, "the agents' namespace %q is not there: make it and its Role as docs/install.md says", g.namespace)
	case err != nil:
		return fmt.Errorf("create ServiceAccount %q: %w", a.Name, err)
	}
	return g.grant(ctx, record, slices.Sorted(maps.Keys(record.Grants)), wanted)
}

// newName is a name that nobody can have guessed.
func newName() string { return "clusterpki-agent-" + strings.ToLower(rand.Text()) }

// namespaceOf is the namespace of the host's objects, read live; nil where it is gone or going.
func (g grantor) namespaceOf(ctx context.Context) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{}
	err := g.live.Get(ctx, client.ObjectKey{Name: g.host.Namespace}, ns)
	if apierrors.IsNotFound(err) || err == nil && !ns.DeletionTimestamp.IsZero() {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", g.host.Namespace, err)
	}
	return ns, nil
}

// bring sees to it that the agent may do what it should, and nothing else. What is allowed otherwise than before is granted first under a new name,
// which is recorded before it stands; what was granted before goes then, also where a quota or a policy refuses the next.
func (g grantor) bring(ctx context.Context, account *corev1.ServiceAccount, record agents.Record, wanted map[string][]rbacv1.PolicyRule) error {
	next := record
	next.Grants, next.GoneTime = map[string]string{}, metav1.Time{}
	var missing []string
	for _, namespace := range slices.Sorted(maps.Keys(wanted)) {
		rules, name := wanted[namespace], record.Grants[namespace]
		if len(rules) == 0 {
			continue
		}
		stands, err := g.stands(ctx, record, agents.Grant{Namespace: namespace, Name: name}, rules)
		if err != nil {
			return err
		}
		if !stands {
			name, missing = newName(), append(missing, namespace)
		}
		next.Grants[namespace] = name
	}
	if next.Equal(record) {
		return g.clear(ctx, record)
	}
	switch of, err := g.namespaceOf(ctx); {
	case of == nil:
		return err
	case of.UID != record.NamespaceUID: // the agent was that of another namespace of this name, and is to have nothing of this one
		if err := g.remove(ctx, account, record); err != nil {
			return err
		}
		return g.create(ctx, wanted)
	}
	if err := g.record(ctx, account, next); err != nil {
		return err
	}
	refused := g.grant(ctx, next, missing, wanted)
	if refused != nil && !apierrors.IsForbidden(refused) { // it is tried again at once, and until then the agent goes on
		return refused
	}
	for namespace, name := range record.Grants {
		if next.Grants[namespace] != name {
			if err := g.deleteGrant(ctx, agents.Grant{Namespace: namespace, Name: name}); err != nil {
				return err
			}
		}
	}
	return refused
}

// stands says whether a grant is there as it should be. What the cache lacks is read live: it may be behind, or somebody's policy may have taken the label off.
func (g grantor) stands(ctx context.Context, r agents.Record, grant agents.Grant, rules []rbacv1.PolicyRule) (bool, error) {
	if grant.Name == "" {
		return false, nil
	}
	role, binding := &rbacv1.Role{}, &rbacv1.RoleBinding{}
	for _, o := range []client.Object{role, binding} {
		key := client.ObjectKey{Namespace: grant.Namespace, Name: grant.Name}
		err := g.client.Get(ctx, key, o)
		if apierrors.IsNotFound(err) {
			err = g.live.Get(ctx, key, o)
		}
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read %T %q: %w", o, grant.Name, err)
		}
	}
	return agents.Grants(role, r.Role(g.seal, grant, rules), binding, r.Binding(g.seal, grant, g.accountKey())), nil
}

// grant makes the Roles and RoleBindings of namespaces.
func (g grantor) grant(ctx context.Context, r agents.Record, namespaces []string, wanted map[string][]rbacv1.PolicyRule) error {
	for _, namespace := range namespaces {
		grant := agents.Grant{Namespace: namespace, Name: r.Grants[namespace]}
		for _, o := range []client.Object{r.Role(g.seal, grant, wanted[namespace]), r.Binding(g.seal, grant, g.accountKey())} {
			if err := g.client.Create(ctx, o); err != nil {
				return fmt.Errorf("create %T %q: %w", o, grant.Name, err)
			}
		}
	}
	return nil
}

// strays are what was made for the agent of the host, and does not count, as the cache has it.
func (g grantor) strays(ctx context.Context, r agents.Record) ([]client.Object, error) {
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	for _, l := range []client.ObjectList{&roles, &bindings} {
		if err := g.client.List(ctx, l, client.MatchingFields{visits.AgentIndex: g.host.String()}); err != nil {
			return nil, fmt.Errorf("look up what the agent of host %q was given: %w", g.host.Name, err)
		}
	}
	var out []client.Object
	for i := range bindings.Items {
		if o := &bindings.Items[i]; r.Stray(g.seal, "RoleBinding", o) {
			out = append(out, o)
		}
	}
	for i := range roles.Items {
		if o := &roles.Items[i]; r.Stray(g.seal, "Role", o) {
			out = append(out, o)
		}
	}
	return out, nil
}

// clear deletes strays.
func (g grantor) clear(ctx context.Context, r agents.Record) error {
	strays, err := g.strays(ctx, r)
	if err != nil {
		return err
	}
	return g.delete(ctx, strays...)
}

func (g grantor) deleteGrant(ctx context.Context, grant agents.Grant) error {
	meta := metav1.ObjectMeta{Namespace: grant.Namespace, Name: grant.Name}
	return g.delete(ctx, &rbacv1.RoleBinding{ObjectMeta: meta}, &rbacv1.Role{ObjectMeta: meta})
}

func (g grantor) delete(ctx context.Context, all ...client.Object) error {
	for _, o := range all {
		if err := client.IgnoreNotFound(g.client.Delete(ctx, o)); err != nil {
			return fmt.Errorf("delete %T %q: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// record writes onto the ServiceAccount what was given to it.
func (g grantor) record(ctx context.Context, account *corev1.ServiceAccount, r agents.Record) error {
	before := account.DeepCopy()
	if err := r.Enter(g.seal, account); err != nil {
		return err
	}
	if err := g.client.Patch(ctx, account, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("record what ServiceAccount %q may do: %w", account.Name, err)
	}
	return nil
}

// remove deletes what an agent was given, and its ServiceAccount, with which its tokens end.
func (g grantor) remove(ctx context.Context, account *corev1.ServiceAccount, r agents.Record) error {
	for namespace, name := range r.Grants {
		if err := g.deleteGrant(ctx, agents.Grant{Namespace: namespace, Name: name}); err != nil {
			return err
		}
	}
	err := g.client.Delete(ctx, account, client.Preconditions{UID: &account.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ServiceAccount %q: %w", account.Name, err)
	}
	return nil
}
