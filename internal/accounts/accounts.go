// Package accounts brings the service account keys of the authority namespace to what their ServiceAccountKey asks for: the first key, the
// steps of its rotation, and what is published of it.
package accounts

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/stall"
)

// Maker makes service account keys.
type Maker struct {
	binding.Binder
	Clock   apitime.Timekeeper
	Store   *authority.Store
	Secrets owned.Secrets
	Keys    leaf.Keys
	// Keeper writes what is published in a namespace.
	Keeper func(ctx context.Context, namespace string) (*owned.Keeper, error)
	// Reported is what the Lease of an object's agent says, and what that is worth.
	Reported func(context.Context, *coordinationv1.Lease, records.Object) (consumers.Reported, error)
}

// State is how service account keys stand at the end of a reconciliation, as far as that is known.
type State struct {
	Record  *authority.AccountKeys // as it is stored now; nil: there is none
	Created bool                   // the first key was made, or taken over
	// Published says whether the Secret holds what the ledger says.
	Published bool
	Read      Reading
	Step      Step // that was made; no transition: none was
}

// Reading is who uses what is published, as it was read last.
type Reading struct {
	consumers.KeyInputs
	Users  []consumers.KeyUser
	Tokens consumers.KeyTokens
	// Inputs are what a step is decided from.
	Inputs keyring.Inputs
}

// Step is a transition of a ledger that was made.
type Step struct {
	Transition keyring.Transition
	From, To   keyring.Ledger
}

// Moved says whether a step was made.
func (s State) Moved() bool { return s.Step.Transition != keyring.Nothing }

// Reconcile reads what the authority namespace says, or makes the first key; makes the step of the ledger that is due; and publishes what
// follows. What is returned with an error holds.
func (m *Maker) Reconcile(ctx context.Context, k *v1alpha1.ServiceAccountKey) (State, error) {
	record, created, err := m.record(ctx, k)
	if err != nil {
		return State{}, err
	}
	st := State{Record: record, Created: created}
	if err := usable(record); err != nil {
		return st, err
	}
	keeper, err := m.Keeper(ctx, k.Namespace)
	if err != nil {
		return st, err
	}
	secret, err := m.Secrets.Cached(ctx, k.Namespace, k.KeySecretName())
	if err != nil {
		return st, err
	}
	if err := outdated(keeper, k, secret, record); err != nil {
		return st, err
	}
	if st.Record, err = m.unseen(ctx, record, secret); err != nil {
		return st, err
	}
	st, err = m.advance(ctx, k, st)
	if owned.LostRace(err) {
		return st, err
	}
	var published error
	st.Record, published = m.publish(ctx, keeper, k, st.Record, secret)
	st.Published = published == nil
	return st, stall.First(err, published)
}

// usable says, as a stall, what of the keys is missing or damaged.
func usable(record *authority.AccountKeys) error {
	for _, key := range record.Ledger.Keys {
		if err := record.Err[key.Number]; err != nil {
			return stall.Because(v1alpha1.ReasonServiceAccountKeyInvalid, "%v: restore Secret %q of the authority namespace from a backup; nothing is "+
				"changed until then, and no other key is made in its place", err, authority.AccountKeysName(record.Namespace, record.Name))
		}
	}
	return nil
}

// outdated says, as a stall, where the Secret was written from a newer ledger than there is: what is published would lose a key. What another object
// claims says nothing of this one's.
func outdated(keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, secret *corev1.Secret, record *authority.AccountKeys) error {
	claim := leaf.ClaimOf(keeper, secret)
	if claim.Keyring <= record.Ledger.Revision || !ours(k, secret) {
		return nil
	}
	return stall.Because(v1alpha1.ReasonLedgerOutdated, "Secret %q was written from a newer ledger (revision %d) than there is (revision %d), as after a "+
		"restore: nothing is changed. Restore a newer Secret %q of the authority namespace or, if there is none, delete Secret %q to have what there is "+
		"published",
		secret.Name, claim.Keyring, record.Ledger.Revision, authority.AccountKeysName(record.Namespace, record.Name), secret.Name)
}

// publication is what is published of the keys of an object.
func publication(k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys) (consumers.Publication, error) {
	digest, err := record.PublicSHA256()
	if err != nil {
		return consumers.Publication{}, fmt.Errorf("read what is published: %w", err)
	}
	return consumers.Publication{
		Secret: k.KeySecretName(), SHA256: digest, Since: record.Ledger.Published, SwitchedAt: record.Ledger.SwitchedAt(),
	}, nil
}

// NextCheck is when the answer of a reconciliation changes without an event; zero: never.
func (r Reading) NextCheck(l keyring.Ledger) time.Time {
	next := l.NextCheck(r.Inputs)
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, u := range r.Users {
		sooner(u.Next)
	}
	for i := range r.Servers {
		c := &r.Servers[i]
		sooner(consumers.Turns(r.Leases[consumers.LeaseKey{Owner: c.UID, Name: c.LeaseName()}], c.Spec.Delivery, c.Spec.HostName, r.Now))
	}
	return next
}
