package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// Keys of the trust ConfigMap.
const (
	bundleKey = "ca.crt"
	ledgerKey = v1alpha1.LedgerKey
)

// issuer is a ClusterCA as its leaves see it. Its trust may be known although it cannot sign.
type issuer struct {
	bundle     []byte // PEM
	roots      []*x509.Certificate
	pair       *pki.KeyPair // nil: it cannot sign now
	generation int32
	trust      revisions // of the bundle: the CA's own and, for an intermediate one, of those above
	ledger     plan.Ledger
	reason     string // an IssuerReady reason
	message    string
}

func notReady(reason, format string, args ...any) issuer {
	return issuer{reason: reason, message: fmt.Sprintf(format, args...)}
}

// rendered is the trust bundle as a part of a Secret.
func (i issuer) rendered() rendered { return rendered{data: i.bundle, trust: i.trust} }

// issuer reads a ClusterCA's published trust and its signing key, all from the cache. That is safe: a
// generation Secret is immutable, and a ledger that lags names a generation that is still trusted. Where nothing of the
// CA is held yet, or the cache is behind what is, the API server itself is asked: nobody begins with, or goes back to,
// a bundle that is outdated.
func (b *base) issuer(ctx context.Context, namespace, name string, held revisions) (issuer, error) {
	from := client.Reader(b.client)
	if _, known := held[name]; !known {
		from = b.live
	}
	iss, err := b.issuerBy(ctx, from, namespace, name)
	for ca, revision := range iss.trust {
		if err == nil && revision < held[ca] {
			iss, err = b.issuerBy(ctx, b.live, namespace, name)
			break
		}
	}
	if revision, known := iss.trust[name]; known && revision < held[name] {
		return notReady(v1alpha1.ReasonLedgerOutdated, "ClusterCA %q: its ledger (revision %d) is older than what was published already (revision %d), "+
			"as after a restore: restore a newer ConfigMap %q, or delete it to have it rebuilt from the generation Secrets",
			name, revision, held[name], v1alpha1.TrustConfigMapName(name)), err
	}
	return iss, err
}

// issuerBy reads the ledger from a given reader. A certificate is signed only by what the API server itself
// says now: between two looks of the cache, the CA that signs may have been replaced.
func (b *base) issuerBy(ctx context.Context, from client.Reader, namespace, name string) (issuer, error) {
	var ca v1alpha1.ClusterCA
	err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	if apierrors.IsNotFound(err) {
		return notReady(v1alpha1.ReasonIssuerNotFound, "ClusterCA %q does not exist", name), nil
	}
	if err != nil {
		return issuer{}, fmt.Errorf("read ClusterCA %q: %w", name, err)
	}
	var cm corev1.ConfigMap
	err = from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ca.TrustConfigMapName()}, &cm)
	if apierrors.IsNotFound(err) {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q has published no trust bundle yet", name), nil
	}
	if err != nil {
		return issuer{}, fmt.Errorf("read ConfigMap %q: %w", ca.TrustConfigMapName(), err)
	}
	return b.issuerFrom(ctx, &ca, &cm)
}

func (b *base) issuerFrom(ctx context.Context, ca *v1alpha1.ClusterCA, cm *corev1.ConfigMap) (issuer, error) {
	if !ownedBy(cm, ca, kindClusterCA) {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ConfigMap %q is not ClusterCA %q's own", cm.Name, ca.Name), nil
	}
	ledger, err := plan.ParseLedger(cm.Data[ledgerKey])
	if err != nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: %v", ca.Name, err), nil
	}
	roots, err := pki.ParseCertificates([]byte(cm.Data[bundleKey]))
	if err != nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: its trust bundle is unreadable: %v", ca.Name, err), nil
	}
	signing, _ := ledger.Signing() // ParseLedger made sure of it
	if find(roots, signing.Anchor) == nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: its trust bundle lacks the CA that signs", ca.Name), nil
	}
	out := issuer{bundle: []byte(cm.Data[bundleKey]), roots: roots, generation: signing.Number, ledger: ledger, trust: revisions{}}
	maps.Copy(out.trust, holdingOf(cm.Annotations).Trust[bundleKey]) // of the CAs above, where the bundle is theirs
	out.trust[ca.Name] = max(1, ledger.TrustRevision)
	secret, err := b.cachedSecret(ctx, ca.Namespace, signing.SecretName)
	if err != nil {
		return issuer{}, err
	}
	pair, err := generationPair(secret, signing)
	if err != nil {
		out.reason, out.message = reasonOf(err, v1alpha1.ReasonCAKeyMissing), fmt.Sprintf("ClusterCA %q cannot sign: %v", ca.Name, err)
		return out, nil
	}
	out.pair = &pair
	if !plan.CanSign(b.clock.Now(), out.pair) {
		out.reason = v1alpha1.ReasonIssuerExpiring
		out.message = fmt.Sprintf("ClusterCA %q ends too soon to sign anything: it must be replaced", ca.Name)
		return out, nil
	}
	out.reason, out.message = v1alpha1.ReasonIssuerAvailable, fmt.Sprintf("ClusterCA %q can sign", ca.Name)
	return out, nil
}

// find returns the certificate of an identity, nil where it is not among them.
func find(certs []*x509.Certificate, identity string) *x509.Certificate {
	i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return pki.IdentityOf(c) == identity })
	if i < 0 {
		return nil
	}
	return certs[i]
}
