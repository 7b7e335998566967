package controller

import (
	"context"
	"fmt"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/plan"
)

// observation is what a step of a CA's ledger is decided from.
type observation struct {
	plan.Observation
	newer string // what says that the ledger is behind what was issued from it; "" where nothing does
}

// observe reads who depends on a CA and what is known of each, from the cache or from the API server itself. Where no
// rotation is under way or about to begin, nobody is asked.
func (r *clusterCAs) observe(ctx context.Context, from client.Reader, record *authority.Record, w plan.Want) (observation, error) {
	out := observation{Observation: plan.Observation{Created: record.Created}}
	if record.Ledger.Phase() == plan.Completed && record.Ledger.CauseOf(w) == "" {
		return out, nil
	}
	in, err := r.gather(ctx, from, record)
	if err != nil {
		return out, err
	}
	out.Consumers = in.Of(record.Name)
	for _, p := range in.Products {
		if newer(p, record) {
			out.newer = fmt.Sprintf("Secret %q was written from a newer ledger of this CA than there is (revision %d), as after a restore: "+
				"nothing is withdrawn or deleted. Restore a newer Secret %q of the authority namespace",
				p.Name, record.Ledger.Revision, authority.SecretName(record.Namespace, record.Name))
			break
		}
	}
	return out, nil
}

// newer says whether a Secret was written from a later state of the ledger: with a later bundle, or a certificate of a key that
// the ledger does not know yet, or does not let sign.
func newer(p consumers.Product, record *authority.Record) bool {
	if !p.Claimed {
		return false
	}
	l := record.Ledger
	issued := slices.ContainsFunc(l.Generations, func(g plan.Generation) bool { return g.Number == p.Claim.Generation && g.State == plan.Trusted })
	return p.Claim.Revisions()[record.Name] > max(1, l.BundleRevision) || p.Claim.Issuer == record.Name && (issued || p.Claim.Generation > l.Last)
}

// pageSize is how many Secrets are read at a time. Most have 5 to 10 KiB, and somebody could make them of 1 MiB each.
const pageSize = 25

// gather reads everything in a namespace that says who depends on its CAs. The record is the CA's own, read live; those of
// others come from the cache, which may lag: a consumer of an intermediate CA then counts as pending for a moment longer.
func (r *clusterCAs) gather(ctx context.Context, from client.Reader, record *authority.Record) (consumers.Inputs, error) {
	namespace := record.Namespace
	var cas v1alpha1.ClusterCAList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&cas, &servers, &credentials} {
		if err := from.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return consumers.Inputs{}, fmt.Errorf("list the consumers of the CA: %w", err)
		}
	}
	keeper, err := r.keeper(ctx, namespace)
	if err != nil {
		return consumers.Inputs{}, err
	}
	in := consumers.Inputs{
		CAs: cas.Items, Servers: servers.Items, Credentials: credentials.Items,
		Leases: map[consumers.LeaseKey]*coordinationv1.Lease{}, Authorities: consumers.Authorities{}, Seed: seed, Now: r.clock.Now(),
		Serving: func(c *v1alpha1.APIServerCertificate) consumers.Serving {
			return observed{r.wire.Seen(probeKey(types.NamespacedName{Namespace: c.Namespace, Name: c.Name}))}
		},
	}
	if in.Products, err = r.products(ctx, from, namespace, keeper); err != nil {
		return consumers.Inputs{}, err
	}
	if err := leases(ctx, from, namespace, keeper, in.Leases); err != nil {
		return consumers.Inputs{}, err
	}
	others, err := r.store.CachedIn(ctx, namespace)
	if err != nil {
		return consumers.Inputs{}, err
	}
	for _, other := range append(others, record) {
		in.Authorities[other.Name] = leaf.AuthorityOf(other)
	}
	return in, nil
}

// products reads what the operator made, page by page: only what gates look at is kept.
func (r *clusterCAs) products(ctx context.Context, from client.Reader, namespace string, keeper *owned.Keeper) ([]consumers.Product, error) {
	var out []consumers.Product
	opts := client.ListOptions{Namespace: namespace, LabelSelector: managedSelector, UnsafeDisableDeepCopy: new(true)}
	if from == r.live {
		opts.Limit = pageSize
	}
	for {
		var list corev1.SecretList
		if err := from.List(ctx, &list, &opts); err != nil {
			return nil, fmt.Errorf("list the Secrets of the CA's consumers: %w", err)
		}
		for i := range list.Items {
			out = append(out, r.reader.Read(&list.Items[i], keeper.Seal))
		}
		if opts.Continue = list.Continue; opts.Limit == 0 || opts.Continue == "" {
			return out, nil
		}
	}
}

// leases reads those that the operator made for agents.
func leases(ctx context.Context, from client.Reader, namespace string, keeper *owned.Keeper, into map[consumers.LeaseKey]*coordinationv1.Lease) error {
	var list coordinationv1.LeaseList
	err := from.List(ctx, &list, &client.ListOptions{Namespace: namespace, LabelSelector: managedSelector, UnsafeDisableDeepCopy: new(true)})
	if err != nil {
		return fmt.Errorf("list the Leases of agents: %w", err)
	}
	for i := range list.Items {
		if claim, ours := keeper.ClaimOf(&list.Items[i]); ours {
			into[consumers.LeaseKey{Owner: claim.UID, Name: list.Items[i].Name}] = &list.Items[i]
		}
	}
	return nil
}
