package ca

import (
	"context"
	"crypto/x509"
	"errors"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/stall"
)

// made is a key that was made, or taken over, for the next generation.
type made struct {
	generation     plan.Generation
	pair           pki.CA
	notCrossSigned error // why it is not, although that was asked for
}

// newKey makes, or takes over, the key and the certificate of the next generation.
func (m *Maker) newKey(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w target) (made, error) {
	g := plan.Generation{Number: record.Ledger.NextNumber(), SpecHash: w.SpecHash, Trigger: w.Trigger}
	if ca.ParentName() != "" {
		g.Parent = plan.Parent{Name: ca.ParentName(), UID: w.parent.UID, Generation: w.parent.Generation}
	}
	pair, err := m.newPair(ctx, ca, record, w, g.Number)
	if err != nil {
		return made{}, err
	}
	out := made{generation: described(g, pair), pair: pair}
	if ca.ParentName() != "" {
		parent, _ := w.parent.Ledger.Active()
		out.generation.Above = parent.Signed(ca.ParentName(), out.generation.NotAfter)
	}
	active, err := record.Active()
	if err != nil { // this is the first, or the key of the one before was lost
		return out, nil //nolint:nilerr // it is told as what is wrong with the CA
	}
	emergency := record.Ledger.IsEmergency(w.DesiredLedger)
	if w.imported != nil && emergency && pki.SamePublicKey(pair.Cert.PublicKey, active.Cert.PublicKey) {
		return made{}, stall.Because(v1alpha1.ReasonImportInvalid,
			"an emergency rotation is for a compromised key, and Secret %q still holds that key: put another CA there",
			ca.Spec.Source.Import.SecretRef.Name)
	}
	old, _ := record.Ledger.Active()
	sameKey := pki.SamePublicKey(pair.Cert.PublicKey, active.Cert.PublicKey)
	below := sameKey
	if ca.ParentName() == "" && !emergency && !sameKey && pair.Root == nil && crossSigning(ca, old) == v1alpha1.CrossSigningOldSignsNew {
		certs, why, err := m.across(ctx, ca, record, old, pair)
		if err != nil {
			return made{}, err
		}
		out.notCrossSigned, below = why, len(certs) > 0
		out.pair.CrossSigned = append(out.pair.CrossSigned, certs...)
	}
	if below {
		out.generation.Above = append(out.generation.Above, old.Above...)
	}
	return out, nil
}

// newPair makes, or takes over, a key and its certificate.
func (m *Maker) newPair(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w target, number int32) (pki.CA, error) {
	d := desired.CA(ca)
	switch {
	case w.imported != nil:
		return *w.imported, nil
	case ca.Spec.Source.IsImport():
		return pki.CA{}, errors.New("the CA to import was not read")
	case ca.ParentName() != "" && w.parent.Signer == nil:
		return pki.CA{}, errors.New("the parent CA cannot sign")
	case desired.ValidCA(d.Spec) != nil:
		return pki.CA{}, desired.ValidCA(d.Spec)
	case ca.ParentName() != "":
		if err := m.mayBeBelow(ctx, ca, d, w.parent.Ledger); err != nil {
			return pki.CA{}, err
		}
		pair, err := w.parent.Signer.SignCA(ctx, m.Clock.Now(), d.GenerationSpec(number), m.key(ctx, ca))
		return pair, leaf.Refused(err)
	}
	if active, err := record.Signer(); err == nil && ca.Spec.Rotation.KeyPolicy == v1alpha1.KeyReuse &&
		!record.Ledger.IsEmergency(w.DesiredLedger) && keepsKey(record, d) {
		return active.Renew(ctx, m.Clock.Now(), d.Spec.Validity)
	}
	return pki.SelfSignWith(m.key(ctx, ca), m.Clock.Now(), d.GenerationSpec(number))
}

// mayBeBelow says why the parent CA, or one above it, may not sign a CA.
func (m *Maker) mayBeBelow(ctx context.Context, ca *v1alpha1.ClusterCA, d plan.DesiredCA, parent plan.Ledger) error {
	chain, err := m.Issuers.PoliciesOf(ctx, ca.Namespace, ca.ParentName(), parent)
	if err != nil {
		return err
	}
	return policy.Denied(chain, desired.AskedByCA(d))
}

// mayBeAcross says why a generation may not sign the CA that takes its place: that would be below its own parent CA, and those above it, too.
func (m *Maker) mayBeAcross(ctx context.Context, ca *v1alpha1.ClusterCA, old plan.Generation, to pki.CA) error {
	chain, err := m.Issuers.PoliciesAbove(ctx, ca.Namespace, old)
	if err != nil {
		return err
	}
	asked := desired.AskedByCA(desired.CA(ca))
	asked.Across, asked.Spec.Key = true, pki.SpecOf(to.Cert.PublicKey)
	return policy.Denied(chain, asked)
}

// described completes a generation from its certificate.
func described(g plan.Generation, pair pki.CA) plan.Generation {
	g.SHA256 = pki.FingerprintOf(pair.Cert)
	g.NotAfter = EndOf(g, pair)
	if anchor := pair.Anchor(); anchor != nil {
		g.Anchor, g.Root = pki.IdentityOf(anchor), anchor == pair.Cert
	}
	return g
}

// keepsKey says whether the active key can be given new dates: the operator made it, as a root, and nothing else is asked
// to be another.
func keepsKey(record *authority.Record, d plan.DesiredCA) bool {
	g, _ := record.Ledger.Active()
	pair, err := record.Active()
	return err == nil && g.Root && g.Parent.Name == "" && !wasImported(g) && d.Fits(pair.Cert)
}

// crossSigning is whether the CA that takes the place of a generation is signed by that one too. Where the spec leaves it
// open, it is so for one that was imported: nobody knows which clients read its bundle once, at their start.
func crossSigning(ca *v1alpha1.ClusterCA, old plan.Generation) v1alpha1.CrossSigning {
	switch {
	case ca.Spec.Rotation.CrossSigning != "":
		return ca.Spec.Rotation.CrossSigning
	case wasImported(old):
		return v1alpha1.CrossSigningOldSignsNew
	default:
		return v1alpha1.CrossSigningDisabled
	}
}

// across are the certificates that lead from a new root to the active one, or why there are none. An error: that cannot be told now.
func (m *Maker) across(
	ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, old plan.Generation, to pki.CA,
) (certs []*x509.Certificate, why, err error) {
	if denied := m.mayBeAcross(ctx, ca, old, to); stall.Is(denied) {
		return nil, denied, nil
	} else if denied != nil {
		return nil, nil, denied
	}
	certs, why = m.crossSigned(ctx, record, record.CAs[old.Number], to)
	return certs, why, nil
}

// crossSigned are the certificates that lead from a new root to an older one, and on from there. A CA that cannot have one is
// none the worse.
func (m *Maker) crossSigned(ctx context.Context, record *authority.Record, old, to pki.CA) ([]*x509.Certificate, error) {
	now := m.Clock.Now()
	signer, err := record.Signer()
	if err != nil {
		return nil, err
	}
	cert, err := signer.CrossSign(ctx, now, to.Cert)
	if err != nil {
		return nil, err
	}
	out := []*x509.Certificate{cert}
	for _, c := range old.ChainBelow() {
		if now.Before(c.NotAfter) && len(out) < authority.MaxCrossSigned {
			out = append(out, c)
		}
	}
	return out, nil
}
