package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/visits"
)

// What agents are given, which the operator holds itself: Secrets and Leases it has, and tokens in the agents' namespace alone (config/agents). It
// holds neither 'bind' nor 'escalate'.
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;delete

// agentAccounts makes the ServiceAccounts of agents, and what these may do. A request is for a host: its namespace, and its name.
type agentAccounts struct {
	base
	namespace string // of the ServiceAccounts
}

func (r *agentAccounts) setup(mgr ctrl.Manager, workers int) error {
	hosts, progress := &visits.AgentHosts{Cache: r.client}, &visits.Progress{} // of its own: its visits are to no object
	if err := mgr.AddHealthzCheck("agents-progress", progress.Check); err != nil {
		return fmt.Errorf("add the health check of agents: %w", err)
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("agent").
		Watches(&v1alpha1.NodeCredential{}, hosts.Objects()).
		Watches(&v1alpha1.APIServerCertificate{}, hosts.Objects()).
		Watches(&corev1.Secret{}, hosts.Products()).
		Watches(&coordinationv1.Lease{}, hosts.Products()).
		Watches(&corev1.ServiceAccount{}, hosts.Grants()).
		Watches(&rbacv1.Role{}, hosts.Grants()).
		Watches(&rbacv1.RoleBinding{}, hosts.Grants()).
		WithOptions(visits.Options(workers, nil, func(req reconcile.Request) queue.Place { return queue.Place{Namespace: req.Namespace} })).
		Complete(visits.Timed[reconcile.Request](r, progress))
	return setupError(err, "agent")
}

// Reconcile brings what one host's agent may do to what the objects of that host ask for.
func (r *agentAccounts) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	host := agents.Host{Namespace: req.Namespace, Name: req.Name}
	all, err := r.objectsOf(ctx, r.client, host)
	if err != nil {
		return ctrl.Result{}, err
	}
	objects := byAgents(all)
	ends, err := r.reconcile(ctx, host, all, objects)
	err = refused(err)
	st, stalled := stall.Of(err)
	if stalled && st.Here { // every object says that of itself
		st = nil
	}
	if err == nil || stalled {
		r.noAccess.set(host, st, objects)
	}
	if st != nil { // a person is to do something, and hears of it where he looks
		for _, o := range objects {
			r.events.Eventf(o, nil, corev1.EventTypeWarning, st.Reason, "GiveAccess", "the agent of host %q gets no access: %s", host.Name, st.Message)
		}
	}
	return r.result(err, ends)
}

// reconcile returns when the agent's identity ends, the zero time for never: all are the objects of the host, and objects those that its agent delivers.
func (r *agentAccounts) reconcile(ctx context.Context, host agents.Host, all, objects []v1alpha1.Object) (ends time.Time, err error) {
	keeper, err := r.keeper(ctx, host.Namespace)
	if err != nil {
		return zeroTime, err
	}
	g := grantor{agentAccounts: r, seal: keeper.Seal, host: host}
	account, record, err := g.account(ctx, r.client)
	switch {
	case stall.Is(err) && len(objects) == 0: // what is somebody else's stays
		return zeroTime, nil
	case err != nil:
		return zeroTime, err
	case len(objects) == 0:
		return g.retire(ctx, account, record, len(all) == 0)
	}
	access, err := r.accessTo(ctx, keeper.Seal, objects)
	if err != nil {
		return zeroTime, err
	}
	wanted := map[string][]rbacv1.PolicyRule{r.namespace: agents.TokenRules(g.accountKey().Name), host.Namespace: access.Rules()}
	if account == nil {
		return zeroTime, g.create(ctx, wanted)
	}
	return zeroTime, g.bring(ctx, account, record, wanted)
}

// objectsOf are the objects of a host, in whatever mode what is issued for them is delivered.
func (r *agentAccounts) objectsOf(ctx context.Context, from client.Reader, host agents.Host) ([]v1alpha1.Object, error) {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	options := []client.ListOption{client.InNamespace(host.Namespace)}
	if from != r.live { // which has no index
		options = append(options, client.MatchingFields{visits.HostIndex: host.Name})
	}
	for _, l := range []client.ObjectList{&servers, &credentials} {
		if err := from.List(ctx, l, options...); err != nil {
			return nil, fmt.Errorf("list what is for host %q: %w", host.Name, err)
		}
	}
	var out []v1alpha1.Object
	for i := range servers.Items {
		out = append(out, &servers.Items[i])
	}
	for i := range credentials.Items {
		out = append(out, &credentials.Items[i])
	}
	kept := out[:0]
	for _, o := range out {
		if v1alpha1.HostName(o) == host.Name {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// byAgents are those of some objects that an agent delivers.
func byAgents(objects []v1alpha1.Object) []v1alpha1.Object {
	var out []v1alpha1.Object
	for _, o := range objects {
		if v1alpha1.AgentHost(o) != "" {
			out = append(out, o)
		}
	}
	return out
}

// accessTo is what the agent may have of what is for its host.
func (r *agentAccounts) accessTo(ctx context.Context, seal consumers.Sealer, objects []v1alpha1.Object) (agents.Access, error) {
	all := make([]agents.Delivered, 0, len(objects))
	for _, o := range objects {
		d := agents.Delivered{Object: o}
		secret, lease := productsOf(o)
		var secretErr, leaseErr, keysErr error
		d.Secret, secretErr = r.secrets.Cached(ctx, o.GetNamespace(), secret)
		d.Lease, leaseErr = readLease(ctx, r.client, o.GetNamespace(), lease)
		if server, ok := o.(*v1alpha1.APIServerCertificate); ok && server.ServiceAccountKeyName() != "" {
			d.Keys, d.KeysSecret, keysErr = r.keysOf(ctx, server)
		}
		if err := errors.Join(secretErr, leaseErr, keysErr); err != nil {
			return agents.Access{}, err
		}
		all = append(all, d)
	}
	return agents.AccessTo(seal, all...), nil
}

// productsOf are the names of the Secret and the Lease of an object that is for a host.
func productsOf(o v1alpha1.Object) (secret, lease string) {
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		return o.TLSSecretName(), o.LeaseName()
	case *v1alpha1.NodeCredential:
		return o.TLSSecretName(), o.LeaseName()
	default:
		return "", ""
	}
}

// keysOf are the service account keys of an API server; nil where there are none.
func (r *agentAccounts) keysOf(ctx context.Context, c *v1alpha1.APIServerCertificate) (*v1alpha1.ServiceAccountKey, *corev1.Secret, error) {
	k := &v1alpha1.ServiceAccountKey{}
	err := r.client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.ServiceAccountKeyName()}, k)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read ServiceAccountKey %q: %w", c.ServiceAccountKeyName(), err)
	}
	secret, err := r.secrets.Cached(ctx, c.Namespace, k.KeySecretName())
	return k, secret, err
}
