package accounts

import (
	"context"
	"crypto"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/stall"
)

// record is what the authority namespace says of service account keys, bound to this object. Where there is nothing and never was, the first
// key is made, or taken over.
func (m *Maker) record(ctx context.Context, k *v1alpha1.ServiceAccountKey) (record *authority.AccountKeys, created bool, err error) {
	if err := m.Home.Ready(ctx, k.Namespace); err != nil {
		return nil, false, err
	}
	record, err = m.Store.LiveAccountKeys(ctx, k.Namespace, k.Name)
	switch {
	case authority.IsUnreadable(err):
		return nil, false, stall.Because(v1alpha1.ReasonLedgerUnreadable, "%v: restore it from a backup", err)
	case err != nil:
		return nil, false, err
	case record == nil || record.Tombstone():
		record, err = m.bootstrap(ctx, k, record)
		return record, err == nil, err
	}
	bound, err := m.Bound(k, record.Identity, record.Deleted)
	if bound || err != nil {
		if !bound {
			record = nil
		}
		return record, false, err
	}
	record, err = m.bind(ctx, k, record)
	return record, false, err
}

// bind gives keys that were retained to the object that has their name now, if that stands in the namespace which held them.
func (m *Maker) bind(ctx context.Context, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys) (*authority.AccountKeys, error) {
	identity, err := m.Take(ctx, k, record.Identity)
	if err != nil {
		return nil, err
	}
	next := record.Next()
	next.Identity, next.Deleted = identity, time.Time{}
	record, err = m.Store.CommitAccountKeys(ctx, record, next)
	if err == nil {
		log.FromContext(ctx).Info("Took up retained service account keys", "serviceAccountKey", klog.KObj(k))
	}
	return record, err
}

// bootstrap makes the first key, or takes it over; after a tombstone, the first one again. Before that it makes sure that there was none: keys that
// were there once and are not any more are an error for a person, never a reason to make others.
func (m *Maker) bootstrap(ctx context.Context, k *v1alpha1.ServiceAccountKey, tombstone *authority.AccountKeys) (*authority.AccountKeys, error) {
	was, noTraces := &authority.AccountKeys{}, func() error { return m.noTraces(ctx, k) }
	if tombstone != nil {
		was, noTraces = tombstone, nil
	}
	identity, err := m.Begin(ctx, k, noTraces)
	if err != nil {
		return nil, err
	}
	made, err := m.first(ctx, k)
	if err != nil {
		return nil, err
	}
	origin := keyring.Origin{Imported: made.imported, Trigger: k.Spec.Rotation.Trigger}
	if origin.Active, err = keyring.KeyID(made.Private.Public()); err != nil {
		return nil, fmt.Errorf("name a key: %w", err)
	}
	for _, key := range made.Former {
		id, err := keyring.KeyID(key)
		if err != nil {
			return nil, fmt.Errorf("name a key: %w", err)
		}
		origin.Former = append(origin.Former, id)
	}
	next := was.Next()
	next.Identity, next.Deleted = identity, time.Time{}
	next.Ledger = keyring.Bootstrap(m.Clock.Latest(), was.Ledger, origin)
	next.Keys, next.Public, next.Err = map[int32]pki.PrivateKey{}, map[int32]crypto.PublicKey{}, nil
	numbers := next.Ledger.Keys // the former keys, in their order, and the one that signs
	for i, key := range made.Former {
		next.Public[numbers[i].Number] = key
	}
	active := numbers[len(made.Former)].Number
	next.Public[active], next.Keys[active] = made.Private.Public(), made.Private
	return m.store(ctx, k, tombstone, next, made.imported)
}

// store stores the first keys. Those that are taken over are reserved before, last of all: a reservation stays.
func (m *Maker) store(
	ctx context.Context, k *v1alpha1.ServiceAccountKey, tombstone, next *authority.AccountKeys, imported bool,
) (stored *authority.AccountKeys, err error) {
	if imported {
		if err := m.reserve(ctx, k, next); err != nil {
			return nil, err
		}
	}
	if tombstone != nil {
		stored, err = m.Store.CommitAccountKeys(ctx, tombstone, next)
	} else {
		stored, err = m.Store.CreateAccountKeys(ctx, next)
	}
	if err != nil {
		return nil, err
	}
	log.FromContext(ctx).Info("Began with service account keys", "serviceAccountKey", klog.KObj(k), "imported", imported, "keys", len(next.Ledger.Keys))
	return stored, nil
}

// first are the first keys, and whether somebody else made them.
func (m *Maker) first(ctx context.Context, k *v1alpha1.ServiceAccountKey) (firstKeys, error) {
	if k.ImportSecretName() != "" {
		keys, err := m.imported(ctx, k)
		return firstKeys{keys, true}, err
	}
	key, err := m.Keys.Key(ctx, k, desired.AccountKey(k))
	return firstKeys{keyring.Imported{Private: key}, false}, err
}

type firstKeys struct {
	keyring.Imported
	imported bool
}

// ours says whether an object says that it was made for k. Anybody can write that.
func ours(k *v1alpha1.ServiceAccountKey, o client.Object) bool {
	return o.GetAnnotations()[v1alpha1.OwnerAnnotation] == k.Kind()+"/"+k.Name
}

// noTraces says, as a stall, where anything tells that the keys were there already.
func (m *Maker) noTraces(ctx context.Context, k *v1alpha1.ServiceAccountKey) error {
	trace := ""
	switch {
	case len(k.Status.Keys) > 0:
		trace = "its status names a key"
	case desired.Restored(k):
		trace = "a backup tool restored this object"
	}
	for _, of := range []struct {
		kind, name string
		object     client.Object
	}{{"ConfigMap", k.JWKSConfigMapName(), &corev1.ConfigMap{}}, {"Secret", k.KeySecretName(), &corev1.Secret{}}} {
		if trace != "" {
			break
		}
		err := m.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: of.name}, of.object)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read %s %q: %w", of.kind, of.name, err)
		}
		// It may be anybody's, which is said when it is to be written. The seal of a claim is not asked: it may have been lost with the keys, and a forged
		// one can only hold this object up.
		if !apierrors.IsNotFound(err) && ours(k, of.object) {
			trace = fmt.Sprintf("%s %q is there", of.kind, of.name)
		}
	}
	if trace == "" {
		return nil
	}
	return stall.Because(v1alpha1.ReasonAuthorityMissing,
		"these service account keys were there before (%s), and the authority namespace %q has no Secret %q: restore that from a backup, or run the operator "+
			"with the authority namespace that has it. To begin anew with another key, which ends every token signed so far, delete what was made for the old "+
			"one: this ServiceAccountKey, ConfigMap %q and Secret %q",
		trace, m.Store.Namespace(), authority.AccountKeysName(k.Namespace, k.Name), k.JWKSConfigMapName(), k.KeySecretName())
}
