package controller

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

type certificate = *x509.Certificate

// wish is what the spec asks of the ledger, and what a new key would be made from.
type wish struct {
	plan.Want
	renewal  time.Time   // when the active CA is due for rotation; zero: never by itself
	parent   leaf.Issuer // that signs an intermediate CA
	imported *pki.CA     // that is to be taken over
	unnamed  string      // why the contents of the import Secret, or a trigger, decide nothing
}

// want is what the spec asks for. Where the source cannot be read now, what is there is as wanted, and the error says what
// to change.
func (r *clusterCAs) want(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (wish, error) {
	d := desiredCA(ca)
	w := wish{Want: plan.Want{SpecHash: d.Spec.Hash(), Trigger: ca.Spec.Rotation.Trigger, EmergencyTrigger: ca.Spec.Rotation.EmergencyTrigger}}
	active, begun := record.Ledger.Active()
	pair := record.CAs[active.Number]
	if begun && pair.Cert != nil {
		w.renewal = d.RenewalTime(pair.Cert)
	}
	switch name := ca.ParentName(); {
	case ca.Spec.Source.IsImport():
		return r.wantImport(ctx, ca, record, w)
	case name != "":
		w.SpecHash += "/" + name
		w.Outgrown = r.outgrown(d, record)
		return r.wantBelow(ctx, ca, record, w)
	case begun && pair.Cert != nil && !r.clock.Now().Before(w.renewal):
		w.Due = plan.CARenewalDue
	}
	w.Outgrown = r.outgrown(d, record)
	return w, nil
}

// outgrown says whether the generation that is to be active next has reached its own renewal time.
func (r *clusterCAs) outgrown(d plan.DesiredCA, record *authority.Record) bool {
	return slices.ContainsFunc(record.Ledger.Generations, func(g plan.Generation) bool {
		cert := record.CAs[g.Number].Cert
		return g.State == plan.Trusted && cert != nil && !r.clock.Now().Before(d.RenewalTime(cert))
	})
}

// wantBelow asks for a new generation of an intermediate CA where its parent has another active key.
func (r *clusterCAs) wantBelow(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w wish) (wish, error) {
	name := ca.ParentName()
	active, begun := record.Ledger.Active()
	parent, err := r.leaves.Live(ctx, ca.Namespace, name)
	if err != nil {
		return w, err
	}
	if parent.CA == nil {
		w.Trigger, w.Hold = "", true // it counts once the parent can sign
		if begun {
			w.SpecHash = active.SpecHash
		}
		return w, stalled(v1alpha1.ReasonParentNotReady, "the parent CA cannot sign: %s", parent.Message)
	}
	w.parent = parent
	cert := record.CAs[active.Number].Cert
	if cert == nil {
		return w, nil
	}
	if plan.Capped(cert, parent.CA) {
		w.renewal = zeroTime
	}
	signs := plan.Parent{Name: name, UID: parent.UID, Generation: parent.Generation}
	switch {
	case active.Parent.Name == name && active.Parent != signs && !pki.SignedBy(cert, parent.CA.Cert):
		w.Due = plan.ParentRotated
		w.Distrusted = pki.WithIdentity(parent.Roots, active.Anchor) == nil // nobody trusts the present one any more
	case !w.renewal.IsZero() && !r.clock.Now().Before(w.renewal):
		w.Due = plan.CARenewalDue
	}
	return w, nil
}

// trusted is the generation that is to be active next; nil where there is none.
func trusted(record *authority.Record) *plan.Generation {
	i := slices.IndexFunc(record.Ledger.Generations, func(g plan.Generation) bool { return g.State == plan.Trusted })
	if i < 0 {
		return nil
	}
	return &record.Ledger.Generations[i]
}

// importHash begins the spec hash of an imported CA.
const importHash = "import:"

// wasImported says whether somebody else made the key of a generation.
func wasImported(g plan.Generation) bool { return strings.HasPrefix(g.SpecHash, importHash) }

// wantImport asks for the CA in the import Secret. That is in a user's hands: once the CA is made, other contents are taken
// by themselves only where they are the same CA with later dates, and another key only where the spec names its certificate.
func (r *clusterCAs) wantImport(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w wish) (wish, error) {
	active, begun := record.Ledger.Active()
	w.SpecHash = active.SpecHash
	pair, err := r.imported(ctx, ca)
	if err != nil {
		w.Trigger, w.Hold = "", true // nobody takes back by breaking a Secret what the spec asks for
		return w, err
	}
	sum := pki.FingerprintOf(pair.Cert)
	named := ca.Spec.Source.Import.CertificateSHA256
	w.imported = &pair
	switch next := trusted(record); {
	case next != nil && next.SHA256 == named: // it was taken over, and is what the spec asks for, whatever the Secret holds now
		w.SpecHash, w.imported = next.SpecHash, nil
		return w, nil
	case !begun && named != "" && named != sum:
		return w, stalled(v1alpha1.ReasonImportInvalid, "Secret %q holds the certificate of SHA-256 %s, and source.import.certificateSHA256 names %s: "+
			"let the two agree", ca.Spec.Source.Import.SecretRef.Name, sum, named)
	case begun && active.SHA256 == sum && wasImported(active):
		return triggerAlone(ca, record, w), nil
	case begun && named != sum && (!wasImported(active) || !pki.Prolongs(record.CAs[active.Number], pair)):
		w.Trigger = ""
		w.unnamed = fmt.Sprintf("Secret %q holds another CA than before, %q, which decides nothing: to rotate to it, set "+
			"spec.source.import.certificateSHA256 to %s", ca.Spec.Source.Import.SecretRef.Name, pair.Cert.Subject, sum)
		return w, nil
	}
	w.SpecHash = importHash + sum
	return w, nil
}

// triggerAlone asks for nothing: an imported CA is rotated by another one.
func triggerAlone(ca *v1alpha1.ClusterCA, record *authority.Record, w wish) wish {
	if record.Ledger.CauseOf(w.Want) == plan.TriggerChanged {
		w.unnamed = fmt.Sprintf("rotation.trigger was changed, and an imported CA is rotated by another one: put it into Secret %q, and the SHA-256 of "+
			"its certificate into spec.source.import.certificateSHA256", ca.Spec.Source.Import.SecretRef.Name)
		w.Trigger = ""
	}
	return w
}

// The bounds of what is read of an import Secret before it is parsed.
const (
	maxImportCertificates = 64 << 10
	maxImportKey          = 8 << 10 // an RSA key of 8192 bits has 6.4 KiB
)

// imported reads a CA that somebody else made, from the API server itself: the cache holds no Secrets of others.
func (r *clusterCAs) imported(ctx context.Context, ca *v1alpha1.ClusterCA) (pki.CA, error) {
	name := ca.Spec.Source.Import.SecretRef.Name
	refuse := func(format string, args ...any) (pki.CA, error) {
		return pki.CA{}, stalled(v1alpha1.ReasonImportInvalid, "Secret %q, from which the CA is to be imported, "+format, append([]any{name}, args...)...)
	}
	var s corev1.Secret
	err := r.live.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		return refuse("does not exist: create it with the keys tls.crt and tls.key")
	case err != nil:
		return pki.CA{}, fmt.Errorf("read Secret %q: %w", name, err)
	case s.Annotations[v1alpha1.ClaimAnnotation] != "":
		return refuse("was made by the operator: import a CA that was made elsewhere")
	case len(s.Data[corev1.TLSCertKey]) > maxImportCertificates:
		return refuse("has a tls.crt of more than %d KiB: leave only the CA's certificate and those above it there", maxImportCertificates>>10)
	case len(s.Data[corev1.TLSPrivateKeyKey]) > maxImportKey:
		return refuse("has a tls.key of more than %d KiB: use an RSA key of at most 8192 bits, or an ECDSA key", maxImportKey>>10)
	}
	pair, err := pki.CheckCA(r.clock.Now(), s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return refuse("cannot be used: %v", err)
	}
	return pair, nil
}

// reserve makes sure that no other CA has, or is about to have, a key. Of two that ask at the same time, only one has reserved it
// when it looks for the last time.
func (r *clusterCAs) reserve(ctx context.Context, ca *v1alpha1.ClusterCA, pair pki.CA) error {
	if err := r.keyInUse(ctx, ca, pair); err != nil {
		return err
	}
	by, ok, err := r.store.Reserve(ctx, ca.Namespace, ca.Name, pair.Cert.PublicKey, r.clock.Now(), r.clock.Latest())
	if err != nil {
		return err
	}
	if !ok {
		return inUseBy(ca, by.Namespace, by.Name)
	}
	return r.keyInUse(ctx, ca, pair)
}

// keyInUse refuses a key that another CA has: the two would be one, with two ledgers.
func (r *clusterCAs) keyInUse(ctx context.Context, ca *v1alpha1.ClusterCA, pair pki.CA) error {
	records, _, err := r.store.List(ctx)
	if err != nil {
		return err
	}
	for _, other := range records {
		if other.Namespace == ca.Namespace && other.Name == ca.Name {
			continue
		}
		for _, theirs := range other.CAs {
			if theirs.Cert == nil || !pki.SamePublicKey(theirs.Cert.PublicKey, pair.Cert.PublicKey) {
				continue
			}
			return inUseBy(ca, other.Namespace, other.Name)
		}
	}
	return nil
}

// inUseBy names the CA that has a key, if that is in the same namespace.
func inUseBy(ca *v1alpha1.ClusterCA, namespace, name string) error {
	whose := "another ClusterCA, of another namespace,"
	if namespace == ca.Namespace {
		whose = fmt.Sprintf("ClusterCA %q", name)
	}
	return stalled(v1alpha1.ReasonKeyInUse, "%s has this key already: a key belongs to one ClusterCA; let those that need the CA name that one", whose)
}

// newCAKey makes, or takes over, the key and the certificate of the next generation.
func (r *clusterCAs) newCAKey(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w wish) (plan.Generation, pki.CA, error) {
	g := plan.Generation{Number: record.Ledger.NextNumber(), SpecHash: w.SpecHash, Trigger: w.Trigger}
	if ca.ParentName() != "" {
		g.Parent = plan.Parent{Name: ca.ParentName(), UID: w.parent.UID, Generation: w.parent.Generation}
	}
	pair, err := r.newPair(ctx, ca, record, w, g.Number)
	if err != nil {
		return g, pki.CA{}, err
	}
	if active, activeErr := record.Active(); activeErr == nil {
		if w.imported != nil && record.Ledger.IsEmergency(w.Want) && pki.SamePublicKey(pair.Cert.PublicKey, active.Cert.PublicKey) {
			return g, pki.CA{}, stalled(v1alpha1.ReasonImportInvalid,
				"an emergency rotation is for a compromised key, and Secret %q still holds that key: put another CA there",
				ca.Spec.Source.Import.SecretRef.Name)
		}
		if ca.ParentName() == "" && !record.Ledger.IsEmergency(w.Want) {
			pair.CrossSigned = append(pair.CrossSigned, r.crossSigned(ctx, ca, record, active, pair)...)
		}
	}
	return described(g, pair), pair, nil
}

// newPair makes, or takes over, a key and its certificate.
func (r *clusterCAs) newPair(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w wish, number int32) (pki.CA, error) {
	d := desiredCA(ca)
	switch {
	case w.imported != nil:
		return *w.imported, r.reserve(ctx, ca, *w.imported)
	case ca.Spec.Source.IsImport():
		return pki.CA{}, errors.New("the CA to import was not read")
	case ca.ParentName() != "" && w.parent.Signer == nil:
		return pki.CA{}, errors.New("the parent CA cannot sign")
	case validSpec(d.Spec) != nil:
		return pki.CA{}, validSpec(d.Spec)
	case ca.ParentName() != "":
		pair, err := w.parent.Signer.SignCA(ctx, r.clock.Now(), d.GenerationSpec(number), r.keys.of(ca, forCertificate))
		return pair, leaf.Refused(err)
	}
	if active, err := record.Signer(); err == nil && ca.Spec.Rotation.KeyPolicy == v1alpha1.KeyReuse &&
		!record.Ledger.IsEmergency(w.Want) && keepsKey(record, d) {
		return active.Renew(ctx, r.clock.Now(), d.Spec.Validity)
	}
	return pki.SelfSignWith(r.keys.of(ca, forCertificate), r.clock.Now(), d.GenerationSpec(number))
}

// described completes a generation from its certificate.
func described(g plan.Generation, pair pki.CA) plan.Generation {
	g.SHA256 = pki.FingerprintOf(pair.Cert)
	g.NotAfter = pair.Cert.NotAfter
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

// crossSigned are the certificates that lead from a new root to an older one, and on from there, where they are wanted. A
// CA that cannot have one is none the worse.
func (r *clusterCAs) crossSigned(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, old, to pki.CA) []certificate {
	generation, _ := record.Ledger.Active()
	if crossSigning(ca, generation) != v1alpha1.CrossSigningOldSignsNew || to.Root != nil || pki.SamePublicKey(old.Cert.PublicKey, to.Cert.PublicKey) {
		return nil
	}
	now := r.clock.Now()
	var cert certificate
	signer, err := record.Signer()
	if err == nil {
		cert, err = signer.CrossSign(ctx, now, to.Cert)
	}
	if err != nil {
		r.events.Eventf(ca, nil, corev1.EventTypeWarning, v1alpha1.ReasonNotCrossSigned, "Rotate", "The new CA is not cross-signed by the old one: %v", err)
		return nil
	}
	out := []certificate{cert}
	for _, c := range old.ChainBelow() {
		if now.Before(c.NotAfter) && len(out) < authority.MaxCrossSigned {
			out = append(out, c)
		}
	}
	return out
}
