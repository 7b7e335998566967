package leaf

import (
	"bytes"
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Product is a Secret as it should be. Keys of its data that are not named here are left alone.
type Product struct {
	Name    string
	Type    corev1.SecretType
	Data    map[string][]byte
	Absent  []string            // keys that must go
	Bundles map[string]Rendered // by key. One that cannot be had now is left as it is
	Claim   consumers.Claim
}

// product is the leaf's Secret for the certificate of a state; key is nil where that is on the host.
func (r Request) product(st State, key []byte) Product {
	p := Product{
		Name: r.Secret, Type: r.SecretType(), Absent: r.Absent,
		Data:    map[string][]byte{corev1.TLSCertKey: st.Observed.Leaf.CertPEM()},
		Bundles: map[string]Rendered{consumers.BundleKey: st.Issuer.Rendered()},
		Claim:   consumers.Claim{Issuer: st.Claim.Issuer, Generation: st.Claim.Generation, SpecHash: st.Claim.SpecHash, Revision: st.Claim.Revision},
	}
	if r.ExternalKey {
		p.Absent = append([]string{corev1.TLSPrivateKeyKey}, p.Absent...)
	} else {
		p.Data[corev1.TLSPrivateKeyKey] = key
	}
	maps.Copy(p.Bundles, r.Bundles)
	return p
}

// Write writes a Secret if it differs from what it should be. seen is what was read before, nil for nothing: the write
// then is a Create, which fails if somebody was faster; else it is an Update under seen's resourceVersion. Either failure
// means to read and decide again.
func (m *Maker) Write(ctx context.Context, r Request, seen *corev1.Secret, p Product) error {
	was := ClaimOf(r.Keeper, seen)
	next := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Owner.GetNamespace(), Name: p.Name}, Type: p.Type}
	if seen != nil {
		next = seen.DeepCopy()
	}
	claim, changed := p.render(next, was)
	settled := true
	if seen != nil {
		changed = changed || was.Contents != consumers.ContentsDigest(seen.Data) // somebody else has changed it
		// What a person states is looked at by the gates alone, who know the bundles: until then, what was there before counts.
		settled = r.Said.Manual == nil && r.Said.Settled((&consumers.Reader{}).Read(seen, r.Keeper.Seal), m.Clock.Now())
	}
	marks := owned.Marks{Claim: claim.After(was, m.Clock.Latest(), changed, settled), Controlled: true}
	if seen == nil {
		if err := owned.Create(ctx, r.Keeper, OwnerOf(r.Owner), next, marks); err != nil {
			return m.unexpected(ctx, r, p.Name, err)
		}
		m.Secrets.Wrote.Created(owned.SecretKind, next)
		return nil
	}
	if err := owned.Update(ctx, r.Keeper, OwnerOf(r.Owner), seen, next, marks); err != nil {
		return err
	}
	if next.ResourceVersion != seen.ResourceVersion { // it differed, and was written
		m.Secrets.Wrote.Updated(owned.SecretKind, next)
	}
	return nil
}

// render enters what a Secret should hold, and returns the claim that belongs to it, and whether a bundle is another than
// before. Where one cannot be had now, what stood there stays.
func (p Product) render(into *corev1.Secret, was consumers.Claim) (claim consumers.Claim, changed bool) {
	claim = p.Claim
	claim.Trust = map[string]map[string]int64{}
	if into.Data == nil {
		into.Data = map[string][]byte{}
	}
	maps.Copy(into.Data, p.Data)
	for _, key := range p.Absent {
		delete(into.Data, key)
	}
	for key, r := range p.Bundles {
		if r.Data == nil {
			r.Revisions = was.Trust[key]
		} else {
			changed = changed || !bytes.Equal(into.Data[key], r.Data)
			into.Data[key] = r.Data
		}
		if len(r.Revisions) > 0 {
			claim.Trust[key] = r.Revisions
		}
	}
	claim.Contents = consumers.ContentsDigest(into.Data)
	return claim, changed
}

// unexpected looks at a Secret that could not be made because it is there, although the cache does not know it. It may be
// somebody else's; or the cache lags, or has lost it because its label was stripped, which is put right. In either case the
// race is lost: what was made for an absent Secret may be older than what is there.
func (m *Maker) unexpected(ctx context.Context, r Request, name string, lost error) error {
	if !apierrors.IsAlreadyExists(lost) {
		return lost
	}
	there, err := m.Secrets.Live(ctx, r.Owner.GetNamespace(), name)
	if err != nil {
		return err
	}
	if there == nil {
		return lost
	}
	if err := Conflict(r.Keeper.Check(ctx, OwnerOf(r.Owner), there)); err != nil {
		return err
	}
	marks := owned.Marks{Claim: ClaimOf(r.Keeper, there), Controlled: true}
	if err := owned.Update(ctx, r.Keeper, OwnerOf(r.Owner), there, there.DeepCopy(), marks); err != nil {
		return err
	}
	return lost
}

// ClaimOf is what the operator noted on a Secret; nothing where it is none of ours, or there is none.
func ClaimOf(k *owned.Keeper, s *corev1.Secret) consumers.Claim {
	if s == nil {
		return consumers.Claim{}
	}
	c, ok := k.ClaimOf(s)
	if !ok {
		return consumers.Claim{}
	}
	return c
}

// OwnerOf is an object as the owner of what is made for it.
func OwnerOf(o v1alpha1.Object) owned.Owner { return owned.Owner{Kind: o.Kind(), Object: o} }

// Conflict makes a stall of a product that is somebody else's.
func Conflict(err error) error {
	if owned.IsConflict(err) {
		return stall.Because(v1alpha1.ReasonSecretConflict, "%v", err)
	}
	return err
}
