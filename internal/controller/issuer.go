package controller

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// issuer is a ClusterCA as its leaves see it. Its trust may be known although it cannot sign.
type issuer struct {
	bundle     []byte // PEM
	roots      []certificate
	pair       *pki.KeyPair // nil: it cannot sign now; with its key only where live
	live       bool         // read from the API server itself: it can sign
	uid        string       // of the ClusterCA
	generation int32
	revisions  map[string]int64 // of the ledgers that the bundle follows from
	ledger     plan.Ledger
	reason     string // an IssuerReady reason
	message    string
}

func notReady(reason, format string, args ...any) issuer {
	return issuer{reason: reason, message: fmt.Sprintf(format, args...)}
}

// rendered is a bundle as a part of a Secret; no data: it cannot be had now.
type rendered struct {
	data      []byte
	revisions map[string]int64
}

// rendered is the trust bundle as a part of a Secret.
func (i issuer) rendered() rendered { return rendered{i.bundle, i.revisions} }

// recordReader reads what the authority namespace says of a CA.
type recordReader func(ctx context.Context, namespace, name string) (*authority.Record, error)

// issuer reads what a ClusterCA publishes, and the certificate of its active key, from the cache. Where nothing of the CA is
// held yet, or the cache is behind what is, the API server itself is asked: nobody begins with, or goes back to, a bundle
// that is outdated.
func (b *base) issuer(ctx context.Context, namespace, name string, held map[string]int64) (issuer, error) {
	from := recordReader(b.store.Cached)
	if _, known := held[name]; !known {
		from = b.store.Live
	}
	iss, err := b.issuerBy(ctx, from, namespace, name)
	for ca, revision := range iss.revisions {
		if err == nil && revision < held[ca] {
			iss, err = b.issuerBy(ctx, b.store.Live, namespace, name)
			break
		}
	}
	if revision, known := iss.revisions[name]; known && revision < held[name] {
		return notReady(v1alpha1.ReasonLedgerOutdated, "ClusterCA %q: its ledger (revision %d) is older than what was issued from it already (revision %d), "+
			"as after a restore: restore a newer Secret %q of the authority namespace",
			name, revision, held[name], authority.SecretName(namespace, name)), err
	}
	return iss, err
}

// signer reads a ClusterCA from the API server itself, with its key. A certificate is signed only by what that says now.
func (b *base) signer(ctx context.Context, namespace, name string) (issuer, error) {
	return b.issuerBy(ctx, b.store.Live, namespace, name)
}

func (b *base) issuerBy(ctx context.Context, from recordReader, namespace, name string) (issuer, error) {
	var ca v1alpha1.ClusterCA
	err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	if apierrors.IsNotFound(err) {
		return notReady(v1alpha1.ReasonIssuerNotFound, "ClusterCA %q does not exist", name), nil
	}
	if err != nil {
		return issuer{}, fmt.Errorf("read ClusterCA %q: %w", name, err)
	}
	record, err := from(ctx, namespace, name)
	switch {
	case err != nil && isAPIError(err):
		return issuer{}, err
	case err != nil:
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: %v", name, err), nil
	case record == nil || record.Tombstone():
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q has no key yet", name), nil
	case record.UID != ca.UID || !record.Deleted.IsZero() || !b.keeps(record): // only its own reconciler binds it
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q has not taken up the CA of its name", name), nil
	}
	return b.issuerFrom(ctx, record, from)
}

func (b *base) issuerFrom(ctx context.Context, record *authority.Record, from recordReader) (issuer, error) {
	known, err := authorities(ctx, from, record)
	if err != nil {
		return issuer{}, err
	}
	name := record.Name
	active, _ := record.Ledger.Active()
	out := issuer{
		roots: known.Bundle(name), uid: string(record.UID), generation: active.Number, ledger: record.Ledger, revisions: known.Revisions(name),
		live: !record.WithoutKeys,
	}
	if find(out.roots, active.Anchor) == nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: its trust bundle lacks the active CA: is its parent there?", name), nil
	}
	if out.bundle, _, err = bundleOf(out.roots); err != nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: %v", name, err), nil
	}
	pair := record.CAs[active.Number]
	if keyErr := record.Err[active.Number]; keyErr != nil && !record.WithoutKeys {
		out.reason, out.message = v1alpha1.ReasonCAKeyMissing, fmt.Sprintf("ClusterCA %q cannot sign: %v", name, keyErr)
		return out, nil
	}
	out.pair = &pair
	if !plan.CanSign(b.clock.Now(), out.pair) {
		out.reason = v1alpha1.ReasonIssuerExpiring
		out.message = fmt.Sprintf("ClusterCA %q ends too soon to sign anything: it must be rotated", name)
		return out, nil
	}
	out.reason, out.message = v1alpha1.ReasonIssuerAvailable, fmt.Sprintf("ClusterCA %q can sign", name)
	return out, nil
}

// authorities are a CA and those above it.
func authorities(ctx context.Context, from recordReader, record *authority.Record) (consumers.Authorities, error) {
	out := consumers.Authorities{record.Name: authorityOf(record)}
	wanted := []*authority.Record{record}
	for len(wanted) > 0 && len(out) < authority.MaxChain {
		r := wanted[0]
		wanted = wanted[1:]
		for _, g := range r.Ledger.Published() {
			name := g.Parent.Name
			if _, known := out[name]; known || name == "" {
				continue
			}
			parent, err := from(ctx, r.Namespace, name)
			if err != nil && isAPIError(err) {
				return nil, err
			}
			if err == nil && parent != nil {
				out[name] = authorityOf(parent)
				wanted = append(wanted, parent)
			}
		}
	}
	return out, nil
}

// authorityOf is a CA as its consumers see it.
func authorityOf(r *authority.Record) consumers.Authority {
	return consumers.Authority{Ledger: r.Ledger, CAs: r.CAs}
}

// find returns the certificate of an identity, nil where it is not among them.
func find(certs []certificate, identity string) certificate {
	i := slices.IndexFunc(certs, func(c certificate) bool { return pki.IdentityOf(c) == identity })
	if i < 0 {
		return nil
	}
	return certs[i]
}
