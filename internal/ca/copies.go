package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/outputs"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// publishCopies writes the copies of the active key that spec.secretName and spec.outputs ask for. What is returned is the record with the copies that
// there are.
func (m *Maker) publishCopies(
	ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, bundle []*x509.Certificate,
) (*authority.Record, error) {
	if len(ca.SecretNames()) == 0 {
		return record, nil
	}
	if err := outputs.Distinct(ca); err != nil {
		return record, err
	}
	pair, err := record.Active()
	if err != nil {
		return record, nil //nolint:nilerr // it is told as what is wrong with the CA
	}
	forms, err := copiesOf(ca, pair, bundle)
	if err != nil {
		return record, err
	}
	var failed error
	for _, f := range forms { // one that is somebody else's keeps no other from being written
		stored, existing, err := m.ensureCopy(ctx, ca, record, f)
		record = stored
		if err == nil {
			err = m.fillCopy(ctx, ca, record, existing, f)
		}
		if err != nil && !stall.Is(err) {
			return record, err
		}
		failed = stall.First(failed, err)
	}
	return record, failed
}

// copiesOf are the copies of a CA's key that its spec asks for.
func copiesOf(ca *v1alpha1.ClusterCA, pair pki.CA, bundle []*x509.Certificate) ([]outputs.Form, error) {
	key, err := pair.Key.Reveal()
	if err != nil {
		return nil, err
	}
	var out []outputs.Form
	if ca.Spec.SecretName != "" {
		// Exactly one certificate: kube-controller-manager ends if it finds two.
		data := map[string][]byte{corev1.TLSCertKey: pki.EncodeCertificates(pair.Cert), corev1.TLSPrivateKeyKey: key}
		out = append(out, outputs.Form{Name: ca.Spec.SecretName, Type: corev1.SecretTypeTLS, Data: data})
	}
	if len(ca.Spec.Outputs) == 0 {
		return out, nil
	}
	certs, err := pki.Bundle(append([]*x509.Certificate{pair.Cert}, bundle...)) // these read the first one alone, where they read one
	if err != nil {
		return nil, fmt.Errorf("render the certificates of an output: %w", err)
	}
	for _, o := range ca.Spec.Outputs {
		out = append(out, outputs.OfCA(o, certs, key))
	}
	return out, nil
}

// ensureCopy makes the Secret of a copy, empty, and records it before anything is put there: whoever made one of that name
// first does not get the key.
func (m *Maker) ensureCopy(
	ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, f outputs.Form,
) (*authority.Record, *corev1.Secret, error) {
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return record, nil, err
	}
	existing, err := m.Secrets.Live(ctx, ca.Namespace, f.Name)
	if err != nil {
		return record, nil, err
	}
	if existing == nil {
		existing = f.Secret(ca.Namespace)
		existing.Data = f.Empty()
		if err := owned.Create(ctx, keeper, ca, existing, f.Marks(consumers.Claim{CAKey: true}, true)); err != nil {
			return record, nil, err
		}
	}
	recorded, check := slices.Contains(record.Copies, authority.Copy{Name: f.Name, UID: existing.UID}), keeper.Check
	if recorded {
		check = keeper.CheckCopy
	}
	if err := check(ctx, ca, existing); err != nil {
		return record, nil, leaf.Conflict(err)
	}
	filled := slices.ContainsFunc(slices.Collect(maps.Values(existing.Data)), func(value []byte) bool { return len(value) > 0 })
	switch differs := f.TypeDiffers(existing); {
	case differs != nil:
		return record, nil, differs
	case recorded: // even where it was made for a ClusterCA of this name that is gone
		return record, existing, nil
	case filled || !keeper.Mine(ca, existing):
		return record, nil, stall.Because(v1alpha1.ReasonSecretConflict, "Secret %q is not the one that the operator made for the copy of the CA's key: "+
			"delete it, or choose another name in spec.secretName or spec.outputs", f.Name)
	}
	next := record.Next()
	others := slices.DeleteFunc(next.Copies, func(c authority.Copy) bool { return c.Name == f.Name })
	next.Copies = append(others, authority.Copy{Name: f.Name, UID: existing.UID})
	stored, err := m.Store.Commit(ctx, record, next)
	if err != nil {
		return record, nil, err
	}
	return stored, existing, nil
}

// fillCopy puts the active pair into the Secret of a copy, if it holds another one.
func (m *Maker) fillCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, existing *corev1.Secret, f outputs.Form) error {
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	active, _ := record.Ledger.Active()
	was, _ := keeper.ClaimOf(existing)
	same := maps.EqualFunc(existing.Data, f.Data, bytes.Equal)
	claim := consumers.Claim{
		Issuer: ca.Name, Generation: active.Number, Contents: consumers.ContentsDigest(f.Data), CAKey: true,
	}.After(was, m.Clock.Latest(), !same, true)
	if !same {
		if err := m.newest(ctx, ca, record); err != nil {
			return err
		}
	}
	next := existing.DeepCopy()
	f.Enter(next)
	return leaf.Conflict(owned.Update(ctx, keeper, ca, existing, next, f.Marks(claim, true)))
}

// newest says, as a lost race, where the ledger is another by now: whoever changed it may have filled the copy before it was
// read here, and its resourceVersion would not tell.
func (m *Maker) newest(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) error {
	now, err := m.Store.Live(ctx, ca.Namespace, ca.Name)
	if err != nil {
		return err
	}
	if now == nil || now.Version != record.Version {
		return fmt.Errorf("copy the key of the CA: %w", apierrors.NewConflict(corev1.Resource("secrets"), record.Name, binding.ErrOutdated))
	}
	return nil
}

// EmptyCopies takes the keys out of the copies of a CA's key but those of some names. One that cannot be emptied stays recorded, and keeps no other from
// being emptied.
func (m *Maker) EmptyCopies(ctx context.Context, record *authority.Record, but ...string) (*authority.Record, error) {
	var failed error
	next := record.Next()
	for _, c := range record.Copies {
		if slices.Contains(but, c.Name) {
			continue
		}
		err := m.emptyCopy(ctx, record, c)
		if err == nil {
			next.Copies = slices.DeleteFunc(next.Copies, func(o authority.Copy) bool { return o == c })
		}
		failed = stall.First(failed, err)
	}
	if len(next.Copies) == len(record.Copies) {
		return record, failed
	}
	stored, err := m.Store.Commit(ctx, record, next)
	if err != nil {
		return record, stall.First(failed, err)
	}
	return stored, failed
}

// emptyCopy takes the key out of a copy: the Secret that was recorded, whatever stands on it by now, and no other of its name.
func (m *Maker) emptyCopy(ctx context.Context, record *authority.Record, c authority.Copy) error {
	s, err := m.Secrets.Live(ctx, record.Namespace, c.Name)
	if err != nil || s == nil || s.UID != c.UID {
		return err
	}
	keeper, err := m.Keeper(ctx, record.Namespace)
	if err != nil {
		return err
	}
	s.Data = outputs.Emptied(s.Type)
	if claim, ours := keeper.ClaimOf(s); ours && claim.CAKey {
		claim.CAKey, claim.Contents = false, consumers.ContentsDigest(s.Data)
		s.Annotations[v1alpha1.ClaimAnnotation] = claim.Text(keeper.Seal, owned.SecretKind, s.Namespace, s.Name)
	}
	err = m.Client.Update(ctx, s)
	if apierrors.IsInvalid(err) {
		return stall.Because(v1alpha1.ReasonSecretConflict, "Secret %q holds a copy of the CA's key that is not asked for any more, and cannot be "+
			"emptied: delete it: %v", c.Name, err)
	}
	if err != nil {
		return fmt.Errorf("empty Secret %q: %w", c.Name, err)
	}
	return nil
}
