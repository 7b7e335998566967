package controller

import (
	"context"
	"crypto/x509"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// parentOf is the name of the ClusterCA that signs another one, "" for none.
func parentOf(ca *v1alpha1.ClusterCA) string {
	if ca.Spec.Source == nil || ca.Spec.Source.Parent == nil {
		return ""
	}
	return ca.Spec.Source.Parent.CARef.Name
}

// asks fills in what the spec asks of the ledger. Where the source cannot be read now, what is there is as wanted,
// and the error says what to change.
func (r *clusterCAs) asks(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState) error {
	d := desiredCA(ca)
	st.want = plan.Want{
		RequestHash: d.Request.Hash(),
		Trigger:     ca.Spec.Rotation.Revision,
		Emergency:   ca.Spec.Rotation.Mode == v1alpha1.RotationEmergency,
	}
	switch name := parentOf(ca); {
	case ca.Spec.Source.IsImport():
		pair, err := r.imported(ctx, ca)
		if err != nil {
			st.want.RequestHash = st.signing.RequestHash
			return err
		}
		st.foreign = &pair
		st.want.RequestHash = importHash + pki.FingerprintOf(pair.Cert)
	case name != "":
		st.want.RequestHash += "/" + name
		st.want.Spent = r.spent(ca, st)
		return r.asksParent(ctx, ca, st, name)
	default:
		if cert := st.certificate(); cert != nil && !r.clock.Now().Before(d.RenewalTime(cert)) {
			st.want.Due = plan.CARenewalDue
		}
	}
	st.want.Spent = r.spent(ca, st)
	return nil
}

// importHash begins the request hash of an imported CA.
const importHash = "import:"

// spent says whether the generation that is to sign next has reached its own renewal time.
func (r *clusterCAs) spent(ca *v1alpha1.ClusterCA, st *caState) bool {
	for _, g := range st.ledger.Generations {
		next := g.State == plan.Staged || g.State == plan.Trusted
		if pair, ok := st.pairs[g.Number]; ok && next && !ca.Spec.Source.IsImport() && !r.clock.Now().Before(desiredCA(ca).RenewalTime(pair.Cert)) {
			return true
		}
	}
	return false
}

// asksParent asks for a new generation where the CA above signs with another key.
func (r *clusterCAs) asksParent(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, name string) error {
	parent, err := r.issuerBy(ctx, r.client, ca.Namespace, name)
	if err != nil {
		return err
	}
	if st.signing.Parent.Name == name && parent.generation != st.signing.Parent.Generation {
		if parent, err = r.issuerBy(ctx, r.live, ca.Namespace, name); err != nil {
			return err
		}
	}
	if parent.pair == nil {
		if st.signing.Number > 0 {
			st.want.RequestHash = st.signing.RequestHash
		}
		return stalled(v1alpha1.ReasonParentNotReady, "the CA above cannot sign: %s", parent.message)
	}
	st.above = parent.pair
	st.parent = plan.Parent{Name: name, Generation: parent.generation}
	cert := st.certificate()
	switch {
	case st.signing.Parent.Name == name && st.signing.Parent != st.parent && !pki.SignedBy(st.certificateOr(parent.pair.Cert), parent.pair.Cert):
		st.want.Due = plan.ParentReplaced
		if find(parent.roots, st.signing.Anchor) == nil { // nobody trusts the present one any more
			st.want.Emergency = true
		}
	case cert != nil && !plan.Capped(cert, st.above) && !r.clock.Now().Before(desiredCA(ca).RenewalTime(cert)):
		st.want.Due = plan.CARenewalDue
	}
	return nil
}

// certificate is that of the generation that signs, nil where its key is lost.
func (st *caState) certificate() *x509.Certificate {
	if st.pair == nil {
		return nil
	}
	return st.pair.Cert
}

// certificateOr is the certificate, or another one where the key is lost.
func (st *caState) certificateOr(other *x509.Certificate) *x509.Certificate {
	if cert := st.certificate(); cert != nil {
		return cert
	}
	return other
}

// renewal is when the CA is due for replacement by itself; zero: never.
func (st *caState) renewal(ca *v1alpha1.ClusterCA) time.Time {
	cert := st.certificate()
	if cert == nil || st.above != nil && plan.Capped(cert, st.above) {
		return time.Time{}
	}
	return desiredCA(ca).RenewalTime(cert)
}

// imported reads a CA that somebody else made, from the API server itself: the cache holds no Secrets of others.
func (r *clusterCAs) imported(ctx context.Context, ca *v1alpha1.ClusterCA) (pki.KeyPair, error) {
	name := ca.Spec.Source.Import.SecretRef.Name
	s, err := r.liveSecret(ctx, ca.Namespace, name)
	if err != nil {
		return pki.KeyPair{}, err
	}
	if s == nil {
		return pki.KeyPair{}, stalled(v1alpha1.ReasonImportInvalid,
			"Secret %q, from which the CA is to be imported, does not exist: create it with the keys tls.crt and tls.key", name)
	}
	pair, err := pki.CheckCA(r.clock.Now(), s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return pki.KeyPair{}, stalled(v1alpha1.ReasonImportInvalid, "Secret %q, from which the CA is to be imported: %v", name, err)
	}
	return pair, nil
}

// mint makes, or takes over, the key and the certificate of a new generation.
func (r *clusterCAs) mint(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, n int32) (pki.KeyPair, plan.Parent, error) {
	if ca.Spec.Source.IsImport() {
		pair := *st.foreign
		pair.Bridges = r.bridges(ca, st, pair)
		return pair, plan.Parent{}, nil
	}
	d := desiredCA(ca)
	if err := validRequest(d.Request); err != nil {
		return pki.KeyPair{}, plan.Parent{}, err
	}
	if name := parentOf(ca); name != "" {
		return r.mintBelow(ctx, ca.Namespace, name, d.GenerationRequest(n))
	}
	if ca.Spec.Rotation.KeyPolicy == v1alpha1.KeyReuse && !st.want.Emergency && st.keepsKey(d) {
		pair, err := pki.RenewRoot(r.clock.Now(), d.Request.Validity, *st.pair)
		return pair, plan.Parent{}, err
	}
	pair, err := pki.SelfSign(r.clock.Now(), d.GenerationRequest(n))
	if err == nil {
		pair.Bridges = r.bridges(ca, st, pair)
	}
	return pair, plan.Parent{}, err
}

// mintBelow makes an intermediate CA, signed by what the API server itself names as the signing key of the CA above.
func (r *clusterCAs) mintBelow(ctx context.Context, namespace, name string, request pki.Request) (pki.KeyPair, plan.Parent, error) {
	parent, err := r.issuerBy(ctx, r.live, namespace, name)
	if err != nil {
		return pki.KeyPair{}, plan.Parent{}, err
	}
	if parent.pair == nil {
		return pki.KeyPair{}, plan.Parent{}, stalled(v1alpha1.ReasonParentNotReady, "the CA above cannot sign: %s", parent.message)
	}
	pair, err := pki.SignCA(r.clock.Now(), request, *parent.pair)
	return pair, plan.Parent{Name: name, Generation: parent.generation}, refused(err)
}

// keepsKey says whether the key that signs can be given new dates: the operator made it, as a root, and nothing else
// is asked to be another.
func (st *caState) keepsKey(d plan.DesiredCA) bool {
	own := st.signing.Root && st.signing.Parent.Name == "" && !strings.HasPrefix(st.signing.RequestHash, importHash)
	return own && st.pair != nil && d.Fits(st.pair.Cert)
}

// bridges lead from a new root to an older one, and on from there, where they are asked for. A CA that cannot have one
// is none the worse.
func (r *clusterCAs) bridges(ca *v1alpha1.ClusterCA, st *caState, to pki.KeyPair) []*x509.Certificate {
	if ca.Spec.Rotation.Bridge != v1alpha1.BridgeCrossSign || st.pair == nil || st.want.Emergency || to.Root != nil {
		return nil
	}
	now := r.clock.Now()
	bridge, err := pki.CrossSign(now, to.Cert, *st.pair)
	if err != nil {
		r.events.Eventf(ca, nil, corev1.EventTypeWarning, v1alpha1.ReasonNoBridge, "Rotate", "The new CA is not cross-signed by the old one: %v", err)
		return nil
	}
	out := []*x509.Certificate{bridge}
	for _, c := range st.pair.ChainBelow() {
		if now.Before(c.NotAfter) {
			out = append(out, c)
		}
	}
	return out
}
