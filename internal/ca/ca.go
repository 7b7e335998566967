// Package ca brings a CA of the authority namespace to what its ClusterCA asks for: its first key, the steps of its rotation, what is
// published of it, and its end.
package ca

import (
	"context"
	"errors"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/home"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/stall"
)

// Maker makes CAs.
type Maker struct {
	Client  client.Client // reads objects of ours from the cache, which may lag
	Live    client.Reader // reads from the API server
	Clock   apitime.Timekeeper
	Home    *home.Home
	Store   *authority.Store
	Issuers leaf.Issuers // parents
	Secrets owned.Secrets
	Wrote   *owned.Writes // what the cache does not have yet
	Keys    leaf.Keys
	Reader  *consumers.Reader
	// Keeper writes what is published in a namespace.
	Keeper func(ctx context.Context, namespace string) (*owned.Keeper, error)
	// Reported is what the Lease of an object's agent says, and what that is worth.
	Reported func(context.Context, *coordinationv1.Lease, records.Object) (consumers.Reported, error)
	// Serving is what was observed of an API server.
	Serving func(*v1alpha1.APIServerCertificate) consumers.Serving
}

// Reconcile reads what the authority namespace says, or makes the first key; makes the step of the ledger that is due; and
// publishes what follows. An error of one part keeps no other part from being done, and what is returned with one holds.
func (m *Maker) Reconcile(ctx context.Context, ca *v1alpha1.ClusterCA) (State, error) {
	record, created, err := m.record(ctx, ca)
	if err != nil {
		return State{}, err
	}
	st := State{Record: record, Created: created}
	aim, aimErr := m.targetOf(ctx, ca, record)
	if aimErr != nil && !stall.Is(aimErr) {
		return st, aimErr
	}
	if st.Record, err = m.taken(ctx, record, aim, aimErr); err != nil {
		return st, err
	}
	st.Renewal, st.Undecided = aim.renewal, aim.undecided
	if st.Undecided.Reason == "" && st.Record.Ledger.Differs(aim.SpecHash) {
		st.Undecided = Undecided{v1alpha1.ReasonTakenUp, "the CA that this ClusterCA has taken up was made for another spec, and stays as it is: to have it " +
			"rotated, change spec.rotation.trigger, which takes the verb rotate"}
	}
	st, err = m.advance(ctx, ca, st, aim)
	if owned.LostRace(err) {
		return st, err
	}
	var published error
	st.Record, st.Digest, published = m.publish(ctx, ca, st.Record)
	_, keyErr := st.Record.Active()
	return st, stall.First(err, keyMissing(st.Record, keyErr), aimErr, published)
}

// keyMissing says what to do about an active key that is not there.
func keyMissing(record *authority.Record, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, authority.ErrKeyMissing):
		return stall.Because(v1alpha1.ReasonCAKeyMissing, "%v: restore Secret %q of the authority namespace from a backup, or change spec.rotation.trigger to "+
			"have the CA rotated; nothing is signed until then, and no other CA is made in its place by itself",
			err, authority.SecretName(record.Namespace, record.Name))
	default:
		return stall.Because(v1alpha1.ReasonCAKeyInvalid, "%v: restore Secret %q of the authority namespace from a backup",
			err, authority.SecretName(record.Namespace, record.Name))
	}
}

// key is where the keys of a CA come from.
func (m *Maker) key(ctx context.Context, ca *v1alpha1.ClusterCA) pki.KeySource {
	return func(spec pki.KeySpec) (pki.PrivateKey, error) { return m.Keys.Key(ctx, ca, spec) }
}
