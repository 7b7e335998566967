package accounts

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/records"
)

// advance makes the one transition of the ledger that is due, if any. Each is one write of the Secret in the authority namespace under the
// resourceVersion that was read; whoever loses that race decides again from what is there then.
func (m *Maker) advance(ctx context.Context, k *v1alpha1.ServiceAccountKey, st State) (State, error) {
	record := st.Record
	var err error
	if st.Read, err = m.read(ctx, m.cached(), k, record); err != nil {
		return st, err
	}
	_, t := record.Ledger.Step(st.Read.Inputs)
	if t == keyring.Nothing {
		return st, nil
	}
	// Nobody may have come or gone since the cache was filled, nor may the spec be another.
	if err := m.EnsureFresh(ctx, k); err != nil {
		return st, err
	}
	if st.Read, err = m.read(ctx, m.live(), k, record); err != nil {
		return st, err
	}
	in := st.Read.Inputs
	if _, again := record.Ledger.Step(in); again != t {
		return st, nil
	}
	if t != keyring.Withdraw { // what is stored is the latest that it may be, so that no delay is shorter than it should be
		in.Now = m.Clock.Latest()
	}
	var later keyring.Transition
	next := record.Next()
	if next.Ledger, later = record.Ledger.Step(in); later != t { // another step is about to be due: it is decided by itself
		return st, nil
	}
	if t == keyring.NewKey {
		if t, err = m.enter(ctx, k, record, next, in); err != nil {
			return st, err
		}
	}
	stored, err := m.Store.CommitAccountKeys(ctx, record, next)
	if err != nil {
		return st, err
	}
	log.FromContext(ctx).Info("Made a step of the rotation of service account keys", "serviceAccountKey", klog.KObj(k), "transition", t,
		"from", record.Ledger.Phase(), "to", stored.Ledger.Phase())
	st.Record, st.Step = stored, Step{Transition: t, From: record.Ledger, To: stored.Ledger}
	st.Read, err = m.read(ctx, m.cached(), k, stored)
	return st, err
}

// enter makes another key, and enters it.
func (m *Maker) enter(
	ctx context.Context, k *v1alpha1.ServiceAccountKey, was, next *authority.AccountKeys, in keyring.Inputs,
) (t keyring.Transition, err error) {
	key, err := m.Keys.Key(ctx, k, desired.AccountKey(k))
	if err != nil {
		return keyring.Nothing, err
	}
	id, err := keyring.KeyID(key.Public())
	if err != nil {
		return keyring.Nothing, fmt.Errorf("name a key: %w", err)
	}
	next.Ledger, t = was.Ledger.Enter(in, id)
	next.Keys[next.Ledger.Last], next.Public[next.Ledger.Last] = key, key.Public()
	return t, nil
}

// read reads who uses what is published, from a cache or from the API server itself.
func (m *Maker) read(ctx context.Context, from reader, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys) (Reading, error) {
	published, err := publication(k, record)
	if err != nil {
		return Reading{}, err
	}
	r := Reading{}
	if r.KeyInputs, err = m.inputs(ctx, from, k.Namespace, k.Name, published); err != nil {
		return Reading{}, err
	}
	r.Users, r.Tokens = r.KeyInputs.Users(), r.KeyInputs.Tokens(k.Spec.AcceptTokenLoss)
	r.Inputs = keyring.Inputs{
		Now: r.Now, Trigger: k.Spec.Rotation.Trigger, Retain: k.Spec.RetainOldKeyFor.Duration, Tokens: r.Tokens.Tokens,
	}
	if k.Spec.RotateEvery != nil {
		r.Inputs.RotateEvery = k.Spec.RotateEvery.Duration
	}
	for _, u := range r.Users {
		r.Inputs.Consumers = append(r.Inputs.Consumers, u.Consumer)
	}
	return r, nil
}

// reader reads from a cache or, page by page, from the API server itself.
type reader struct {
	client.Reader
	page int64 // how many objects at a time; 0: all that a cache has
}

// perPage is how many objects are read at a time from the API server itself.
const perPage = 100

func (m *Maker) cached() reader { return reader{m.Client, 0} }

func (m *Maker) live() reader { return reader{m.Live, perPage} }

// inputs reads the API servers that name a key, and what their agents report.
func (m *Maker) inputs(ctx context.Context, from reader, namespace, name string, p consumers.Publication) (consumers.KeyInputs, error) {
	in := consumers.KeyInputs{Publication: p, Leases: map[consumers.LeaseKey]consumers.Reported{}, Now: m.Clock.Now()}
	keeper, err := m.Keeper(ctx, namespace)
	if err != nil {
		return in, err
	}
	opts := client.ListOptions{Namespace: namespace, Limit: from.page, UnsafeDisableDeepCopy: new(true)}
	for {
		var page v1alpha1.APIServerCertificateList
		if err := from.List(ctx, &page, &opts); err != nil {
			return in, fmt.Errorf("list the API servers of namespace %q: %w", namespace, err)
		}
		for i := range page.Items {
			if page.Items[i].ServiceAccountKeyName() == name {
				in.Servers = append(in.Servers, page.Items[i])
			}
		}
		if opts.Continue = page.Continue; from.page == 0 || opts.Continue == "" { // a cache has but one page
			break
		}
	}
	for i := range in.Servers {
		c := &in.Servers[i]
		if c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
			continue
		}
		said, err := m.reported(ctx, from, keeper, c)
		if err != nil {
			return in, err
		}
		in.Leases[consumers.LeaseKey{Owner: c.UID, Name: c.LeaseName()}] = said
	}
	return in, nil
}

// reported is what the agent of an API server's host says, in the Lease that the operator made for it.
func (m *Maker) reported(ctx context.Context, from reader, keeper *owned.Keeper, c *v1alpha1.APIServerCertificate) (consumers.Reported, error) {
	var l coordinationv1.Lease
	err := from.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.LeaseName()}, &l)
	if err == nil && owned.IsCut(&l) {
		l = coordinationv1.Lease{}
		err = m.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.LeaseName()}, &l)
	}
	switch {
	case apierrors.IsNotFound(err):
		return consumers.Reported{}, nil
	case err != nil:
		return consumers.Reported{}, fmt.Errorf("read Lease %q: %w", c.LeaseName(), err)
	case !keeper.Mine(c, &l):
		return consumers.Reported{}, nil
	}
	return m.Reported(ctx, &l, records.Object{UID: c.UID, Kind: c.Kind(), Name: c.Name})
}
