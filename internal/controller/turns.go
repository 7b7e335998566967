package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// turn says, for one visit, whether a host is to have what a CA publishes, or awaits its turn: see consumers.Inputs.Awaiting.
type turn struct {
	// awaits is asked for each bundle that is about to change.
	awaits func(leaf.Issuer) bool
	// waits: it was answered that the host awaits its turn. err: it could not be told, and the bundle stays as it is.
	waits bool
	err   error
}

// turnOf is asked for an object of a host. Outside of the two phases in which a bundle changes nobody waits, and in an emergency nobody does.
func (b *base) turnOf(ctx context.Context, d attended) *turn {
	t := &turn{}
	if d.spec.Mode != v1alpha1.DeliveryAgent {
		return t
	}
	t.awaits = func(i leaf.Issuer) bool {
		phase := i.Ledger.Phase()
		if phase != plan.DistributingTrust && phase != plan.WithdrawingTrust || i.Ledger.Rotation != nil && i.Ledger.Rotation.Emergency {
			return false
		}
		hosts, err := b.awaiting(ctx, d, i)
		waits := err != nil || slices.Contains(hosts, d.host)
		t.waits, t.err = t.waits || waits, stall.First(t.err, err)
		return waits
	}
	return t
}

// awaiting are the hosts of a namespace that await their turn to have what a CA publishes, as the caches say.
func (b *base) awaiting(ctx context.Context, d attended, i leaf.Issuer) ([]string, error) {
	in := consumers.Inputs{Leases: map[consumers.LeaseKey]consumers.Reported{}, Now: b.clock.Now()}
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	namespace := d.owner.GetNamespace()
	list := func(l client.ObjectList) error {
		if err := b.client.List(ctx, l, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("list what is for the hosts of namespace %q: %w", namespace, err)
		}
		return nil
	}
	if err := list(&servers); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(servers.Items, func(c v1alpha1.APIServerCertificate) bool { return c.Spec.HostName == d.host }) && !ofEtcd(d.owner) {
		return nil, nil // one of many nodes, where nothing restarts
	}
	if err := list(&credentials); err != nil {
		return nil, err
	}
	in.Servers, in.Credentials = servers.Items, credentials.Items
	hosts := consumers.Specs{Servers: in.Servers, Credentials: in.Credentials}.RestartHosts(i.Name)
	at := slices.Index(hosts, d.host)
	if at <= 0 {
		return nil, nil
	}
	for n := range in.Servers {
		c := &in.Servers[n]
		if err := b.addReport(ctx, d.keeper, hosts[:at], c, c.Spec.HostName, c.LeaseName(), &in); err != nil {
			return nil, err
		}
	}
	for n := range in.Credentials {
		c := &in.Credentials[n]
		if err := b.addReport(ctx, d.keeper, hosts[:at], c, c.Spec.HostName, c.LeaseName(), &in); err != nil {
			return nil, err
		}
	}
	return in.Awaiting(i.Name, pki.BundleDigest(i.Roots)), nil
}

// ofEtcd says whether an object is for a host that may run etcd and no API server.
func ofEtcd(o v1alpha1.Object) bool {
	c, ok := o.(*v1alpha1.NodeCredential)
	return ok && strings.HasPrefix(string(c.Spec.Role), "Etcd")
}

// addReport adds what the agent of an object says, if its host is one of some.
func (b *base) addReport(
	ctx context.Context, keeper *owned.Keeper, hosts []string, o v1alpha1.Object, host, lease string, in *consumers.Inputs,
) error {
	if !slices.Contains(hosts, host) {
		return nil
	}
	l, err := readLease(ctx, b.client, o.GetNamespace(), lease)
	if err == nil && l != nil && owned.IsCut(l) {
		l, err = readLease(ctx, b.live, o.GetNamespace(), lease)
	}
	if err != nil || l == nil || !keeper.Mine(o, l) {
		return err
	}
	said, err := b.reports.of(ctx, l, recordedOwner(o))
	if err != nil {
		return err
	}
	in.Leases[consumers.LeaseKey{Owner: o.GetUID(), Name: lease}] = said
	return nil
}
