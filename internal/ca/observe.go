package ca

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/stall"
)

// observation is what a step of a CA's ledger is decided from.
type observation struct {
	plan.Observation
	newer string // what says that the ledger is behind what was issued from it; "" where nothing does
	large bool   // some of what was read is large
}

// cached is what the cache says of a CA.
func (m *Maker) cached(ctx context.Context, record *authority.Record, w plan.DesiredLedger) (observation, error) {
	return m.observe(ctx, &scan{from: m.Client, namespace: record.Namespace}, record, w)
}

// live is what the API server itself says of a CA, of which the cache has been asked before.
func (m *Maker) live(ctx context.Context, record *authority.Record, w plan.DesiredLedger, before observation) (observation, error) {
	return m.observe(ctx, liveScan(m.Live, record.Namespace, before.large), record, w)
}

func liveScan(api client.Reader, namespace string, large bool) *scan {
	s := &scan{from: api, namespace: namespace, limit: perPage}
	if large {
		s.limit = perLargePage
	}
	return s
}

// observe reads who depends on a CA and what is known of each. Where no rotation is under way or about to begin, nobody is asked.
func (m *Maker) observe(ctx context.Context, s *scan, record *authority.Record, w plan.DesiredLedger) (observation, error) {
	out := observation{Observation: plan.Observation{Created: record.Created}}
	if record.Ledger.Phase() == plan.Completed && record.Ledger.CauseOf(w) == "" {
		return out, nil
	}
	in, err := m.gather(ctx, s, record)
	if err != nil {
		return out, err
	}
	out.Consumers, out.Turns, out.large = in.Of(record.Name), in.Turns(record.Name), s.large
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

// How many objects are read at a time from the API server itself. Somebody could make them of more than 1 MiB each: where the cache knows
// of one that is large, or has not been asked, fewer are.
const (
	perPage      = 100
	perLargePage = 20
)

// scan reads what stands in a namespace, from a cache or, page by page, from the API server itself.
type scan struct {
	from      client.Reader
	namespace string
	limit     int64 // of a page; 0: a cache is read
	large     bool  // a cache has left out a part of an object that was read, because it is large
}

// pages reads a list, each page into an empty one: decoding into one that was used may keep some of what was there.
func pages[L client.ObjectList](ctx context.Context, s *scan, empty func() L, selector labels.Selector, use func(L)) error {
	opts := client.ListOptions{Namespace: s.namespace, LabelSelector: selector, Limit: s.limit, UnsafeDisableDeepCopy: new(true)}
	for {
		list := empty()
		if err := s.from.List(ctx, list, &opts); err != nil {
			return fmt.Errorf("list what stands in namespace %q: %w", s.namespace, err)
		}
		use(list)
		//nolint:errcheck // it fails on what is no list, and the function never does
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			o, ok := item.(metav1.Object)
			s.large = s.large || ok && owned.IsCut(o)
			return nil
		})
		if opts.Continue = list.GetContinue(); s.limit == 0 || opts.Continue == "" {
			return nil
		}
	}
}

func newList[T any]() *T { return new(T) }

// joined joins pages. There is one alone where a cache is read, and it is not copied.
func joined[T any](before, page []T) []T {
	if before == nil {
		return page
	}
	return append(before, page...)
}

// gather reads everything in a namespace that says who depends on its CAs. The record is the CA's own, read live; those of
// others come from the cache, which may lag: a consumer of an intermediate CA then counts as pending for a moment longer.
func (m *Maker) gather(ctx context.Context, s *scan, record *authority.Record) (consumers.Inputs, error) {
	keeper, err := m.Keeper(ctx, record.Namespace)
	if err != nil {
		return consumers.Inputs{}, err
	}
	in := consumers.Inputs{
		Leases: map[consumers.LeaseKey]consumers.Reported{}, Authorities: consumers.Authorities{}, Now: m.Clock.Now(),
		Seed:    func(o v1alpha1.Object) uint32 { return desired.Seed(o) },
		Serving: m.Serving,
	}
	err = stall.First(
		pages(ctx, s, newList[v1alpha1.ClusterCAList], nil, func(l *v1alpha1.ClusterCAList) { in.CAs = joined(in.CAs, l.Items) }),
		pages(ctx, s, newList[v1alpha1.APIServerCertificateList], nil, func(l *v1alpha1.APIServerCertificateList) { in.Servers = joined(in.Servers, l.Items) }),
		pages(ctx, s, newList[v1alpha1.NodeCredentialList], nil, func(l *v1alpha1.NodeCredentialList) { in.Credentials = joined(in.Credentials, l.Items) }),
		m.products(ctx, s, keeper, &in),
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
func (m *Maker) products(ctx context.Context, s *scan, keeper *owned.Keeper, in *consumers.Inputs) error {
	whole := s.whole(in)
	var failed error
	err := pages(ctx, s, newList[corev1.SecretList], owned.Selector, func(l *corev1.SecretList) {
		for i := range l.Items {
			secret := &l.Items[i]
			if whole(secret) {
				live, err := m.Secrets.Live(ctx, s.namespace, secret.Name)
				if failed = stall.First(failed, err); live != nil {
					secret = live
				}
			}
			in.Products = append(in.Products, m.Reader.Read(secret, keeper.Seal))
		}
	})
	if err = stall.First(err, failed); err != nil {
		return err
	}
	return m.reported(ctx, s, keeper, in)
}

// whole says of which products, of those that a cache has cut, all has to be read: those that some object names. Anybody may make others, as many as he likes.
func (s *scan) whole(in *consumers.Inputs) func(metav1.Object) bool {
	named := map[string]bool{}
	note := func(o v1alpha1.Object) {
		for _, name := range o.SecretNames() {
			named[name] = true
		}
	}
	for i := range in.CAs {
		note(&in.CAs[i])
	}
	for i := range in.Servers {
		note(&in.Servers[i])
	}
	for i := range in.Credentials {
		note(&in.Credentials[i])
	}
	return func(o metav1.Object) bool { return s.limit == 0 && owned.IsCut(o) && named[o.GetName()] }
}

// reported reads what the agents of the objects that are there say, in the Leases that the operator made for them.
func (m *Maker) reported(ctx context.Context, s *scan, keeper *owned.Keeper, in *consumers.Inputs) error {
	owners := map[types.UID]records.Object{}
	for i := range in.Servers {
		owners[in.Servers[i].UID] = records.Object{UID: in.Servers[i].UID, Kind: in.Servers[i].Kind(), Name: in.Servers[i].Name}
	}
	for i := range in.Credentials {
		owners[in.Credentials[i].UID] = records.Object{UID: in.Credentials[i].UID, Kind: in.Credentials[i].Kind(), Name: in.Credentials[i].Name}
	}
	whole := s.whole(in) // a Lease has the name of a Secret
	var failed error
	err := pages(ctx, s, newList[coordinationv1.LeaseList], owned.Selector, func(l *coordinationv1.LeaseList) {
		for i := range l.Items {
			lease := &l.Items[i]
			if whole(lease) {
				lease = &coordinationv1.Lease{}
				failed = stall.First(failed, client.IgnoreNotFound(m.Live.Get(ctx, client.ObjectKeyFromObject(&l.Items[i]), lease)))
			}
			claim, ours := keeper.ClaimOf(lease)
			owner, there := owners[claim.UID]
			if !ours || !there {
				continue
			}
			said, err := m.Reported(ctx, lease, owner)
			failed = stall.First(failed, err)
			in.Leases[consumers.LeaseKey{Owner: claim.UID, Name: lease.Name}] = said
		}
	})
	return stall.First(err, failed)
}
