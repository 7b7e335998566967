package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// turn says, for one visit, whether a host is to have what a CA publishes, or awaits its turn, by the ledger of that CA (plan.Ledger.Awaits).
type turn struct {
	// awaits is asked for each CA that a bundle follows from; nil: the host has everything at once.
	awaits func(ca string, l plan.Ledger) bool
	// waits: it was answered that the host awaits its turn. err: it could not be told.
	waits bool
	err   error
}

// turnOf is asked for an object of a host. was is what was noted on its Secret: what a host was given is not taken from it.
func (b *base) turnOf(ctx context.Context, d attended, was consumers.Claim) *turn {
	t := &turn{}
	if d.spec.Mode != v1alpha1.DeliveryAgent {
		return t
	}
	given := was.Revisions()
	t.awaits = func(ca string, l plan.Ledger) bool {
		if !l.Awaits(d.host) || given[ca] >= l.BundleRevision {
			return false
		}
		hosts, err := b.restartHosts(ctx, d, ca)
		waits := err != nil || slices.Contains(hosts, d.host)
		t.waits, t.err = t.waits || waits, stall.First(t.err, err)
		return waits
	}
	return t
}

// restartHosts are the hosts of a namespace on which something restarts for what a CA publishes, as the cache says.
func (b *base) restartHosts(ctx context.Context, d attended, ca string) ([]string, error) {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	var cas v1alpha1.ClusterCAList
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
	if err := stall.First(list(&credentials), list(&cas)); err != nil {
		return nil, err
	}
	return consumers.Specs{CAs: cas.Items, Servers: servers.Items, Credentials: credentials.Items}.RestartHosts(ca), nil
}

// ofEtcd says whether an object is for a host that may run etcd and no API server.
func ofEtcd(o v1alpha1.Object) bool {
	c, ok := o.(*v1alpha1.NodeCredential)
	return ok && strings.HasPrefix(string(c.Spec.Role), "Etcd")
}
