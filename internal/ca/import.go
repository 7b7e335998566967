package ca

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

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

// targetImport asks for the CA in the import Secret. That is in a user's hands: a chain is taken only where the spec names both its
// ends or, once the CA is made, where it is the same chain with later dates.
func (m *Maker) targetImport(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w target) (target, error) {
	active, begun := record.Ledger.Active()
	w.SpecHash = active.SpecHash
	pair, err := m.imported(ctx, ca)
	if err != nil {
		w.Trigger, w.Hold = "", true // nobody takes back by breaking a Secret what the spec asks for
		return w, err
	}
	spec, chain := ca.Spec.Source.Import, endsOf(pair)
	hash := importHash + pair.ChainDigest()
	w.imported = &pair
	if next := trusted(record); next != nil && endsOf(record.CAs[next.Number]).namedBy(spec) {
		// It was taken over, and is what the spec asks for, whatever the Secret holds now.
		w.SpecHash, w.imported = next.SpecHash, nil
		return w, nil
	}
	switch {
	case begun && active.SpecHash == hash:
		return triggerAlone(ca, record, w), nil
	case chain.namedBy(spec), begun && wasImported(active) && pki.Renewed(record.CAs[active.Number], pair):
		w.SpecHash = hash
		return w, nil
	case !begun:
		return w, stall.Because(v1alpha1.ReasonImportInvalid, "Secret %q holds a chain that spec.source.import does not name: %s",
			spec.SecretRef.Name, chain.toBeNamed())
	}
	w.Trigger = ""
	w.undecided = Undecided{v1alpha1.ReasonImportChanged, fmt.Sprintf("Secret %q holds another chain than before, which decides nothing. To rotate to it, "+
		"name it in spec.source.import: %s", spec.SecretRef.Name, chain.toBeNamed())}
	return w, nil
}

// ends are the SHA-256 of the certificates with which a chain begins and ends. What lies between follows: each is signed by the next.
// The first alone leaves open who is above it: whoever has a key can sign the name and public key of its signer. A root, which
// stands alone, has no other end.
type ends struct {
	certificate, root string
	selfSigned        bool // the root has signed itself, as far as can be verified
}

// endsOf are none where a CA cannot be read.
func endsOf(pair pki.CA) ends {
	var e ends
	if pair.Cert != nil {
		e.certificate = pki.FingerprintOf(pair.Cert)
	}
	if pair.Root != nil {
		e.root = pki.FingerprintOf(pair.Root)
	}
	if anchor := pair.Anchor(); anchor != nil {
		e.selfSigned = pki.SelfSigned(anchor)
	}
	return e
}

// namedBy says whether a spec names a chain.
func (e ends) namedBy(spec *v1alpha1.ImportSource) bool {
	return e.certificate != "" && e.certificate == spec.CertificateSHA256 && (e.root == "" || e.root == spec.RootSHA256)
}

// toBeNamed says, of the chain that is there, what the spec has to say.
func (e ends) toBeNamed() string {
	forged := ""
	if !e.selfSigned {
		forged = ". It does not verify that the root has signed itself: anybody can make one of the same key like that, with other dates"
	}
	if e.root == "" {
		return fmt.Sprintf("it is a root, of certificateSHA256 %s; compare that with what you have from elsewhere%s", e.certificate, forged)
	}
	return fmt.Sprintf("it is of certificateSHA256 %s and rootSHA256 %s; compare both with what you have from elsewhere%s", e.certificate, e.root, forged)
}

// EndOf is when a generation ends. An imported one ends with the first certificate of its chain; above any other one, the
// root may have been renewed since.
func EndOf(g plan.Generation, pair pki.CA) time.Time {
	if wasImported(g) {
		return pair.End()
	}
	return pair.Cert.NotAfter
}

// triggerAlone asks for nothing: an imported CA is rotated by another one.
func triggerAlone(ca *v1alpha1.ClusterCA, record *authority.Record, w target) target {
	if record.Ledger.CauseOf(w.DesiredLedger) == plan.TriggerChanged {
		w.undecided = Undecided{v1alpha1.ReasonImportUnchanged, fmt.Sprintf("rotation.trigger was changed, and an imported CA is rotated by another one: "+
			"put it into Secret %q, and name it in spec.source.import.certificateSHA256 and rootSHA256", ca.Spec.Source.Import.SecretRef.Name)}
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
func (m *Maker) imported(ctx context.Context, ca *v1alpha1.ClusterCA) (pki.CA, error) {
	name := ca.Spec.Source.Import.SecretRef.Name
	refuse := func(format string, args ...any) (pki.CA, error) {
		return pki.CA{}, stall.Because(v1alpha1.ReasonImportInvalid, "Secret %q, from which the CA is to be imported, "+format, append([]any{name}, args...)...)
	}
	var s corev1.Secret
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		return refuse("does not exist: create it with the keys tls.crt and tls.key")
	case err != nil:
		return pki.CA{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	certKey, keyKey, missing := importKeys(s.Data)
	switch {
	case missing != "":
		return refuse("%s", missing)
	case s.Annotations[v1alpha1.ClaimAnnotation] != "":
		return refuse("was made by the operator: import a CA that was made elsewhere")
	case len(s.Data[certKey]) > maxImportCertificates:
		return refuse("has a %s of more than %d KiB: leave only the CA's certificate and those above it there", certKey, maxImportCertificates>>10)
	case len(s.Data[keyKey]) > maxImportKey:
		return refuse("has a %s of more than %d KiB: use an RSA key of at most 8192 bits, or an ECDSA key", keyKey, maxImportKey>>10)
	}
	pair, err := pki.CheckCA(m.Clock.Now(), s.Data[certKey], s.Data[keyKey])
	if err != nil {
		return refuse("cannot be used: %v", err)
	}
	return pair, nil
}

// importKeys are the keys of a Secret that hold certificate and key: those of the type kubernetes.io/tls, or, where these are not there,
// those that kubeadm calls its files by.
func importKeys(data map[string][]byte) (cert, key, missing string) {
	for _, names := range [][2]string{{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}, {"ca.crt", "ca.key"}} {
		_, hasCert := data[names[0]]
		_, hasKey := data[names[1]]
		if hasCert && hasKey {
			return names[0], names[1], ""
		}
	}
	var there []string
	for name := range data {
		there = append(there, name)
	}
	slices.Sort(there)
	if len(there) > maxNamedKeys {
		there = append(there[:maxNamedKeys], "...")
	}
	return "", "", fmt.Sprintf("needs the keys tls.crt and tls.key, or ca.crt and ca.key, and has [%s]: name them so", strings.Join(there, ", "))
}

// maxNamedKeys is how many keys of a Secret a message names.
const maxNamedKeys = 8

// mayTake refuses a key that is to be taken over, where it could not be stored, or is another CA's. It is asked last: a reservation stays.
func (m *Maker) mayTake(ctx context.Context, ca *v1alpha1.ClusterCA, next *authority.Record, w target) error {
	if w.imported == nil {
		return nil
	}
	if err := next.Storable(); err != nil {
		return tooLarge(err)
	}
	return m.reserve(ctx, ca, *w.imported)
}

// reserve makes sure that no other CA has, or is about to have, a key. The cache is asked first: who asks for a key that is in use
// asks again and again. Of two that ask at the same time, only one has reserved it when it looks for the last time, at the API
// server itself.
func (m *Maker) reserve(ctx context.Context, ca *v1alpha1.ClusterCA, pair pki.CA) error {
	cached, err := m.Store.CachedAll(ctx)
	if err != nil {
		return err
	}
	if err := keyInUse(ca, pair, cached); err != nil {
		return err
	}
	by, ok, err := m.Store.Reserve(ctx, ca.Namespace, ca.Name, pair.Cert.PublicKey, m.Clock.Now(), m.Clock.Latest())
	if err != nil {
		return err
	}
	if !ok {
		return inUseBy(ca, by.Namespace, by.Name)
	}
	stored, damaged, err := m.Store.List(ctx)
	if err != nil {
		return err
	}
	if len(damaged) > 0 {
		return stall.Because(v1alpha1.ReasonLedgerUnreadable, "%d Secrets of the authority namespace cannot be read, and one of them may hold the key that "+
			"is to be imported: whoever administers the PKI finds them by `clusterpki authority list`, and restores them from a backup", len(damaged))
	}
	return keyInUse(ca, pair, stored)
}

// keyInUse refuses a key that another CA has: the two would be one, with two ledgers.
func keyInUse(ca *v1alpha1.ClusterCA, pair pki.CA, records []*authority.Record) error {
	for _, other := range records {
		if other.Namespace == ca.Namespace && other.Name == ca.Name {
			continue
		}
		for _, theirs := range other.CAs {
			if theirs.Cert != nil && pki.SamePublicKey(theirs.Cert.PublicKey, pair.Cert.PublicKey) {
				return inUseBy(ca, other.Namespace, other.Name)
			}
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
	return stall.Because(v1alpha1.ReasonKeyInUse, "%s has this key already: a key belongs to one ClusterCA; let those that need the CA name that one", whose)
}
