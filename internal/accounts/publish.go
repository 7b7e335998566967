package accounts

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/outputs"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// publish writes what follows from the ledger into the user's namespace: the ConfigMap of the JSON Web Key Set, and the Secret of the keys. Neither is
// ever read as truth. Whoever verifies tokens by the ConfigMap knows a key before anything signs by it: while a publication is new, the Secret waits for it.
func (m *Maker) publish(
	ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys, secret *corev1.Secret,
) (*authority.AccountKeys, error) {
	jwks := m.publishJWKS(ctx, keeper, k, record)
	if jwks != nil && record.Ledger.Published.IsZero() {
		return record, jwks
	}
	record, err := m.publishKeys(ctx, keeper, k, record, secret)
	if err == nil {
		err = m.publishOutputs(ctx, keeper, k, record)
	}
	return record, stall.First(err, jwks)
}

// publishOutputs writes the Secrets that are in the forms of other programs. They bear no owner reference, and stay when the object goes.
func (m *Maker) publishOutputs(ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys) error {
	if len(k.Spec.Outputs) == 0 {
		return nil
	}
	if err := outputs.Distinct(k); err != nil {
		return err
	}
	data, err := dataOf(record)
	if err != nil {
		return err
	}
	w := outputs.Writer{Secrets: m.Secrets, Keeper: keeper, Owner: k, Fresh: func(ctx context.Context) error { return m.newest(ctx, record) }}
	for _, o := range k.Spec.Outputs {
		err = stall.First(err, w.Write(ctx, outputs.OfKeys(o, data[consumers.AccountPrivateKey], data[consumers.AccountPublicKey])))
	}
	return err
}

// publishJWKS writes the ConfigMap, where it differs.
func (m *Maker) publishJWKS(ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys) error {
	set, err := record.JWKS()
	if err != nil {
		return fmt.Errorf("render the JSON Web Key Set: %w", err)
	}
	data := map[string]string{consumers.JWKSKey: string(set)}
	marks := owned.Marks{Controlled: k.Spec.DeletionPolicy == v1alpha1.DeletionDelete}
	name := client.ObjectKey{Namespace: k.Namespace, Name: k.JWKSConfigMapName()}
	existing := &corev1.ConfigMap{}
	err = m.Client.Get(ctx, name, existing)
	if apierrors.IsNotFound(err) {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Data: data}
		if err = owned.Create(ctx, keeper, k, cm, marks); !apierrors.IsAlreadyExists(err) {
			return err
		}
		existing, err = &corev1.ConfigMap{}, m.Live.Get(ctx, name, existing)
	}
	if err == nil && owned.IsCut(existing) {
		existing = &corev1.ConfigMap{}
		err = m.Live.Get(ctx, name, existing)
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %q: %w", name.Name, err)
	}
	if err := keeper.Check(ctx, k, existing); err != nil {
		return leaf.Conflict(err)
	}
	next := existing.DeepCopy()
	next.Data = data
	return leaf.Conflict(owned.Update(ctx, keeper, k, existing, next, marks))
}

// publishKeys writes the Secret, where it differs, and notes in the ledger when it was seen to hold the present publication. noted is what the cache has
// of it.
func (m *Maker) publishKeys(
	ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys, noted *corev1.Secret,
) (*authority.AccountKeys, error) {
	data, err := dataOf(record)
	if err != nil {
		return record, err
	}
	if err := m.writeKeys(ctx, keeper, k, record, noted, data); err != nil {
		return record, err
	}
	if !record.Ledger.Published.IsZero() {
		return record, nil
	}
	live, err := m.Secrets.Live(ctx, k.Namespace, k.KeySecretName())
	if err != nil {
		return record, err
	}
	for key, value := range data {
		if live == nil || !bytes.Equal(live.Data[key], value) {
			return record, fmt.Errorf("look what Secret %q holds: %w", k.KeySecretName(), owned.ErrBehind)
		}
	}
	return m.seen(ctx, record, m.Clock.Latest())
}

// unseen notes in the ledger, before it makes a step, where the Secret does not hold what was published: whoever mounts it may have got something else,
// and his time begins anew.
func (m *Maker) unseen(ctx context.Context, record *authority.AccountKeys, noted *corev1.Secret) (*authority.AccountKeys, error) {
	if record.Ledger.Published.IsZero() {
		return record, nil
	}
	data, err := dataOf(record)
	if err != nil {
		return record, err
	}
	for key, value := range data {
		if noted == nil || !bytes.Equal(owned.NotedDigest(noted, key), owned.DigestOf(value)) {
			return m.seen(ctx, record, time.Time{})
		}
	}
	return record, nil
}

// dataOf is what the Secret is to hold.
func dataOf(record *authority.AccountKeys) (map[string][]byte, error) {
	key, err := record.Active()
	if err != nil {
		return nil, fmt.Errorf("read the active key: %w", err)
	}
	private, err := key.Reveal()
	if err != nil {
		return nil, err
	}
	public, err := record.PublicPEM()
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", consumers.AccountPublicKey, err)
	}
	return map[string][]byte{consumers.AccountPrivateKey: private, consumers.AccountPublicKey: public}, nil
}

// seen notes in the ledger when the Secret was seen to hold the present publication; zero: it does not.
func (m *Maker) seen(ctx context.Context, record *authority.AccountKeys, at time.Time) (*authority.AccountKeys, error) {
	next := record.Next()
	next.Ledger = record.Ledger.Seen(at)
	stored, err := m.Store.CommitAccountKeys(ctx, record, next)
	if err != nil {
		return record, err
	}
	return stored, nil
}

// writeKeys makes the Secret, or writes what differs. It bears no owner reference, and stays when the object goes.
func (m *Maker) writeKeys(
	ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, record *authority.AccountKeys, noted *corev1.Secret, data map[string][]byte,
) error {
	claim := consumers.Claim{Keyring: record.Ledger.Revision}
	if noted == nil {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.KeySecretName()}, Type: corev1.SecretTypeOpaque, Data: data,
		}
		if err := m.newest(ctx, record); err != nil {
			return err
		}
		err := owned.Create(ctx, keeper, k, s, owned.Marks{Claim: claim})
		if apierrors.IsAlreadyExists(err) {
			return m.unexpected(ctx, keeper, k, err)
		}
		if err == nil {
			m.Secrets.Wrote.Created(owned.SecretKind, s)
			err = leaf.Labelled(s)
		}
		return err
	}
	if err := keeper.Check(ctx, k, noted); err != nil {
		return leaf.Conflict(err)
	}
	if err := leaf.TypeDiffers(noted, corev1.SecretTypeOpaque); err != nil {
		return err
	}
	existing := owned.Plain(noted)
	next := existing.DeepCopy()
	for key, value := range data {
		if !bytes.Equal(owned.NotedDigest(noted, key), owned.DigestOf(value)) {
			next.Data[key] = value
		}
	}
	if len(next.Data) == len(existing.Data) { // it says still from which ledger it was written
		claim.Keyring = leaf.ClaimOf(keeper, noted).Keyring
	} else if err := m.newest(ctx, record); err != nil {
		return err
	}
	if err := owned.Update(ctx, keeper, k, existing, next, owned.Marks{Claim: claim}); err != nil {
		return leaf.Conflict(err)
	}
	if next.ResourceVersion != existing.ResourceVersion {
		m.Secrets.Wrote.Updated(owned.SecretKind, next)
	}
	return nil
}

// newest says, as a lost race, where the ledger is another by now: whoever changed it may have written the Secret before, and its resourceVersion
// would not tell.
func (m *Maker) newest(ctx context.Context, record *authority.AccountKeys) error {
	now, err := m.Store.LiveAccountKeys(ctx, record.Namespace, record.Name)
	if err != nil {
		return err
	}
	if now == nil || now.Version != record.Version {
		return fmt.Errorf("publish service account keys: %w", owned.ErrBehind)
	}
	return nil
}

// unexpected looks at a Secret that is there although the cache does not know it: it may be somebody else's.
func (m *Maker) unexpected(ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, lost error) error {
	there, err := m.Secrets.Live(ctx, k.Namespace, k.KeySecretName())
	if err != nil || there == nil {
		return stall.First(err, lost)
	}
	if err := leaf.Conflict(keeper.Check(ctx, k, there)); err != nil {
		return err
	}
	return m.relabel(ctx, keeper, k, there, lost)
}

// relabel puts the label back by which the cache knows a Secret of ours.
func (m *Maker) relabel(ctx context.Context, keeper *owned.Keeper, k *v1alpha1.ServiceAccountKey, there *corev1.Secret, lost error) error {
	next := there.DeepCopy()
	if err := owned.Update(ctx, keeper, k, there, next, owned.Marks{Claim: leaf.ClaimOf(keeper, there)}); err != nil {
		return leaf.Conflict(err)
	}
	return stall.First(leaf.Labelled(next), lost)
}
