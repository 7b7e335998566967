package controller

import (
	"context"
	"crypto/rand"
	"fmt"
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
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
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

// create makes the ServiceAccount, or reads the one that the cache does not have yet; nil where the host's namespace is going.
func (g grantor) create(ctx context.Context) (*corev1.ServiceAccount, agents.Record, error) {
	ns, err := g.namespaceOf(ctx)
	if ns == nil {
		return nil, agents.Record{}, err
	}
	record := agents.Record{Host: g.host, NamespaceUID: ns.UID}
	a, err := agents.Account(g.seal, g.namespace, record)
	if err != nil {
		return nil, record, err
	}
	switch err := g.client.Create(ctx, a); {
	case apierrors.IsAlreadyExists(err):
		return g.account(ctx, g.live)
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, record, stall.Because(v1alpha1.ReasonAgentsNotReady, "the agents' namespace %q is not there: make it and its Role as docs/install.md says", g.namespace)
	case err != nil:
		return nil, record, fmt.Errorf("create ServiceAccount %q: %w", a.Name, err)
	}
	return a, record, nil
}

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
// which is recorded before it stands; what was granted before goes then.
func (g grantor) bring(ctx context.Context, account *corev1.ServiceAccount, record agents.Record, access agents.Access) error {
	wanted := map[string][]rbacv1.PolicyRule{g.namespace: agents.TokenRules(account.Name), g.host.Namespace: access.Rules()}
	next := record
	var missing []agents.Grant
	for _, namespace := range []string{g.namespace, g.host.Namespace} {
		name, _ := record.Current(namespace)
		grant, rules := agents.Grant{Namespace: namespace, Name: name}, wanted[namespace]
		if len(rules) == 0 {
			continue
		}
		if stands, err := g.stands(ctx, account, record, grant, rules); err != nil || stands {
			if err != nil {
				return err
			}
			continue
		}
		grant.Name = "clusterpki-agent-" + strings.ToLower(rand.Text())
		next.Grants, missing = append(slices.Clone(next.Grants), grant), append(missing, grant)
	}
	if len(missing) > 0 {
		if of, err := g.namespaceOf(ctx); err != nil || of == nil {
			return err
		} else if of.UID != record.NamespaceUID { // the agent was that of another namespace of this name, and is to have nothing of this one
			if err := g.remove(ctx, account, record); err != nil {
				return err
			}
			return fmt.Errorf("make the account of host %q anew: %w", g.host.Name, owned.ErrBehind)
		}
		if err := g.record(ctx, account, next); err != nil {
			return err
		}
	}
	for _, grant := range missing {
		if err := g.grant(ctx, account, next, grant, wanted[grant.Namespace]); err != nil {
			return err
		}
	}
	return g.withdraw(ctx, account, next, func(a agents.Grant) bool {
		name, _ := next.Current(a.Namespace)
		return a.Name != name || len(wanted[a.Namespace]) == 0
	})
}

// stands says whether a grant is there as it should be. What the cache lacks is read live: it may be behind, or somebody's policy may have taken the label off.
func (g grantor) stands(ctx context.Context, account *corev1.ServiceAccount, r agents.Record, grant agents.Grant, rules []rbacv1.PolicyRule) (bool, error) {
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
	return agents.Grants(role, r.Role(g.seal, grant, rules), binding, r.Binding(g.seal, grant, client.ObjectKeyFromObject(account))), nil
}

// grant makes a Role and its RoleBinding.
func (g grantor) grant(ctx context.Context, account *corev1.ServiceAccount, r agents.Record, grant agents.Grant, rules []rbacv1.PolicyRule) error {
	for _, o := range []client.Object{r.Role(g.seal, grant, rules), r.Binding(g.seal, grant, client.ObjectKeyFromObject(account))} {
		if err := g.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %q: %w", o, grant.Name, err)
		}
	}
	return nil
}

// withdraw deletes the grants that are picked, and takes them off the record.
func (g grantor) withdraw(ctx context.Context, account *corev1.ServiceAccount, r agents.Record, which func(agents.Grant) bool) error {
	gone := slices.DeleteFunc(slices.Clone(r.Grants), func(a agents.Grant) bool { return !which(a) })
	for _, grant := range gone {
		if err := g.deleteGrant(ctx, grant); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	r.Grants = slices.DeleteFunc(slices.Clone(r.Grants), which)
	return g.record(ctx, account, r)
}

func (g grantor) deleteGrant(ctx context.Context, grant agents.Grant) error {
	meta := metav1.ObjectMeta{Namespace: grant.Namespace, Name: grant.Name}
	for _, o := range []client.Object{&rbacv1.RoleBinding{ObjectMeta: meta}, &rbacv1.Role{ObjectMeta: meta}} {
		if err := client.IgnoreNotFound(g.client.Delete(ctx, o)); err != nil {
			return fmt.Errorf("delete %T %q: %w", o, grant.Name, err)
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
	for _, grant := range r.Grants {
		if err := g.deleteGrant(ctx, grant); err != nil {
			return err
		}
	}
	err := g.client.Delete(ctx, account, client.Preconditions{UID: &account.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ServiceAccount %q: %w", account.Name, err)
	}
	return nil
}
