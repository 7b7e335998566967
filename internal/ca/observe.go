package ca

import (
	"context"
	"fmt"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// observation is what a step of a CA's ledger is decided from.
type observation struct {
	plan.Observation
	newer string // what says that the ledger is behind what was issued from it; "" where nothing does
}

// observe reads who depends on a CA and what is known of each, from the cache or from the API server itself. Where no
// rotation is under way or about to begin, nobody is asked.
func (m *Maker) observe(ctx context.Context, from client.Reader, record *authority.Record, w plan.DesiredLedger) (observation, error) {
	out := observation{Observation: plan.Observation{Created: record.Created}}
	if record.Ledger.Phase() == plan.Completed && record.Ledger.CauseOf(w) == "" {
		return out, nil
	}
	in, err := m.gather(ctx, from, record)
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

// What is read at a time from the API server itself. Most Secrets have 5 to 10 KiB, and somebody could make them of 1 MiB each; other
// objects are bounded by admission, but for 256 KiB of annotations.
const (
	secretsPerPage = 25
	objectsPerPage = 100
)

// pages reads what stands in a namespace, page by page where a page has a limit.
func pages[T any, L interface {
	*T
	client.ObjectList
}](ctx context.Context, from client.Reader, opts client.ListOptions, use func(L)) error {
	for {
		list := L(new(T)) // decoding into one that was used may keep some of what was there
		if err := from.List(ctx, list, &opts); err != nil {
			return fmt.Errorf("list the consumers of the CA: %w", err)
		}
		use(list)
		if opts.Continue = list.GetContinue(); opts.Limit == 0 || opts.Continue == "" {
			return nil
		}
	}
}

// joined joins pages. There is one alone where a cache is read, and it is not copied.
func joined[T any](before, page []T) []T {
	if before == nil {
		return page
	}
	return append(before, page...)
}

// in are the options to list what stands in a namespace.
func (m *Maker) in(namespace string, from client.Reader, perPage int64) client.ListOptions {
	opts := client.ListOptions{Namespace: namespace, UnsafeDisableDeepCopy: new(true)}
	if from == m.Live {
		opts.Limit = perPage
	}
	return opts
}

// gather reads everything in a namespace that says who depends on its CAs. The record is the CA's own, read live; those of
// others come from the cache, which may lag: a consumer of an intermediate CA then counts as pending for a moment longer.
func (m *Maker) gather(ctx context.Context, from client.Reader, record *authority.Record) (consumers.Inputs, error) {
	keeper, err := m.Keeper(ctx, record.Namespace)
	if err != nil {
		return consumers.Inputs{}, err
	}
	in := consumers.Inputs{
		Leases: map[consumers.LeaseKey]*coordinationv1.Lease{}, Authorities: consumers.Authorities{}, Seed: desired.Seed, Now: m.Clock.Now(),
		Serving: m.Serving,
	}
	objects := m.in(record.Namespace, from, objectsPerPage)
	err = stall.First(
		pages(ctx, from, objects, func(l *v1alpha1.ClusterCAList) { in.CAs = joined(in.CAs, l.Items) }),
		pages(ctx, from, objects, func(l *v1alpha1.APIServerCertificateList) { in.Servers = joined(in.Servers, l.Items) }),
		pages(ctx, from, objects, func(l *v1alpha1.NodeCredentialList) { in.Credentials = joined(in.Credentials, l.Items) }),
		m.products(ctx, from, record.Namespace, keeper, &in),
	)
	if err != nil {
		return consumers.Inputs{}, err
	}
	others, err := m.Store.CachedIn(ctx, record.Namespace)
	if err != nil {
		return consumers.Inputs{}, err
	}
	for _, other := range append(others, record) {
		in.Authorities[other.Name] = leaf.AuthorityOf(other)
	}
	return in, nil
}

// products reads what the operator made: of Secrets, only what gates look at is kept, and of Leases those of agents.
func (m *Maker) products(ctx context.Context, from client.Reader, namespace string, keeper *owned.Keeper, in *consumers.Inputs) error {
	secrets, leases := m.in(namespace, from, secretsPerPage), m.in(namespace, from, objectsPerPage)
	secrets.LabelSelector, leases.LabelSelector = owned.Selector, owned.Selector
	err := pages(ctx, from, secrets, func(l *corev1.SecretList) {
		for i := range l.Items {
			in.Products = append(in.Products, m.Reader.Read(&l.Items[i], keeper.Seal))
		}
	})
	if err != nil {
		return err
	}
	return pages(ctx, from, leases, func(l *coordinationv1.LeaseList) {
		for i := range l.Items {
			if claim, ours := keeper.ClaimOf(&l.Items[i]); ours {
				in.Leases[consumers.LeaseKey{Owner: claim.UID, Name: l.Items[i].Name}] = &l.Items[i]
			}
		}
	})
}
