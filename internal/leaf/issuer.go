package leaf

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/records"
)

// Issuer is a ClusterCA as its leaves see it. Its trust may be known although it cannot sign.
type Issuer struct {
	Name       string // of the ClusterCA; "" where nothing is known of it
	Bundle     []byte // PEM
	Roots      []*x509.Certificate
	CA         *pki.CA          // without its key; nil: it cannot sign now
	Signer     authority.Signer // nil where the CA was not read from the API server itself
	UID        string           // of the ClusterCA
	Place      records.Place    // where what it issues is recorded
	Generation int32
	Revisions  map[string]int64 // of the ledgers that the bundle follows from
	Ledger     plan.Ledger
	Reason     string // an IssuerReady reason
	Message    string
	known      consumers.Authorities // it, and those above it
}

// Rendered is a bundle as a part of a Secret; no data: it cannot be had now.
type Rendered struct {
	Data      []byte
	Revisions map[string]int64
	Keys      []string // digests of its CAs' keys, where these are to be noted
}

// Rendered is the trust bundle as a part of a Secret.
func (i Issuer) Rendered() Rendered { return Rendered{Data: i.Bundle, Revisions: i.Revisions} }

// Until is the issuer as it was before what some of its CAs publish changed last: its trust alone is another. It is what a host has that awaits its turn.
func (i Issuer) Until(awaits func(ca string, l plan.Ledger) bool) Issuer {
	var former []string
	for name, ca := range i.known {
		if awaits(name, ca.Ledger) {
			former = append(former, name)
		}
	}
	if len(former) == 0 || i.Bundle == nil {
		return i
	}
	was := i.known.Before(former...)
	roots := was.Bundle(i.Name)
	text, err := pki.Bundle(roots)
	if err != nil || bytes.Equal(text, i.Bundle) {
		return i
	}
	i.Roots, i.Bundle, i.Revisions = roots, text, was.Revisions(i.Name)
	return i
}

func notReady(reason, format string, args ...any) Issuer {
	return Issuer{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Issuers reads ClusterCAs.
type Issuers struct {
	Client client.Reader // of ClusterCAs
	Store  *authority.Store
	Clock  apitime.Timekeeper
	Home   func() string // UID of the authority namespace
}

// Read reads what a ClusterCA publishes, and the certificate of its active key, from the cache. Where nothing of the CA is
// held yet, or the cache is behind what is, the API server itself is asked: nobody begins with, or goes back to, a bundle
// that is outdated.
func (r Issuers) Read(ctx context.Context, namespace, name string, contained map[string]int64) (Issuer, error) {
	from := RecordReader(r.Store.Cached)
	if _, known := contained[name]; !known {
		from = r.Store.Live
	}
	iss, err := r.read(ctx, from, namespace, name)
	for ca, revision := range iss.Revisions {
		if err == nil && revision < contained[ca] {
			iss, err = r.Live(ctx, namespace, name)
			break
		}
	}
	if revision, known := iss.Revisions[name]; known && revision < contained[name] {
		return notReady(v1alpha1.ReasonLedgerOutdated, "ClusterCA %q: its ledger (revision %d) is older than what was issued from it already (revision %d), "+
			"as after a restore: restore a newer Secret %q of the authority namespace",
			name, revision, contained[name], authority.SecretName(namespace, name)), err
	}
	return iss, err
}

// Live reads a ClusterCA from the API server itself, with its signer. A certificate is signed only by what that says now.
func (r Issuers) Live(ctx context.Context, namespace, name string) (Issuer, error) {
	return r.read(ctx, r.Store.Live, namespace, name)
}

func (r Issuers) read(ctx context.Context, from RecordReader, namespace, name string) (Issuer, error) {
	var ca v1alpha1.ClusterCA
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	if apierrors.IsNotFound(err) {
		return notReady(v1alpha1.ReasonIssuerNotFound, "ClusterCA %q does not exist", name), nil
	}
	if err != nil {
		return Issuer{}, fmt.Errorf("read ClusterCA %q: %w", name, err)
	}
	record, err := from(ctx, namespace, name)
	switch {
	case err != nil && !authority.IsUnreadable(err):
		return Issuer{}, err
	case err != nil:
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: %v", name, err), nil
	case record == nil || record.Tombstone():
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q has no key yet", name), nil
	case record.UID != ca.UID || !record.Deleted.IsZero() || string(record.HomeUID) != r.Home(): // only its own reconciler binds it
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q has not taken up the CA of its name", name), nil
	}
	known, err := Authorities(ctx, from, record)
	if err != nil {
		return Issuer{}, err
	}
	return r.issuer(record, known), nil
}

// Policies are a ClusterCA and those above it, with what each allows to be issued; none where there is no such CA.
func (r Issuers) Policies(ctx context.Context, namespace, name string) ([]policy.Authority, error) {
	record, err := r.Store.Cached(ctx, namespace, name)
	if err != nil && !authority.IsUnreadable(err) {
		return nil, err
	}
	if err != nil || record == nil { // it signs nothing
		record = &authority.Record{}
	}
	return r.PoliciesOf(ctx, namespace, name, record.Ledger)
}

// PoliciesOf are those of a ClusterCA with a certain ledger.
func (r Issuers) PoliciesOf(ctx context.Context, namespace, name string, l plan.Ledger) ([]policy.Authority, error) {
	active, _ := l.Active()
	return policy.Chain(name, active.Ancestors(r.Clock.Now()), r.spec(ctx, namespace))
}

// PoliciesAbove are those of the CAs below which a generation is, without that of its own.
func (r Issuers) PoliciesAbove(ctx context.Context, namespace string, g plan.Generation) ([]policy.Authority, error) {
	return policy.Above(g.Ancestors(r.Clock.Now()), r.spec(ctx, namespace))
}

// spec reads what specs say of what is issued from their CAs.
func (r Issuers) spec(ctx context.Context, namespace string) func(name string) (*policy.Spec, error) {
	return func(name string) (*policy.Spec, error) {
		var ca v1alpha1.ClusterCA
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
		if apierrors.IsNotFound(err) {
			return nil, nil // absence is an answer
		}
		if err != nil {
			return nil, fmt.Errorf("read ClusterCA %q: %w", name, err)
		}
		return &policy.Spec{Policy: ca.Spec.Policy, Parent: ca.ParentName()}, nil
	}
}

// issuer is a CA by its record and those of the CAs above it.
func (r Issuers) issuer(record *authority.Record, known consumers.Authorities) Issuer {
	name := record.Name
	active, _ := record.Ledger.Active()
	out := Issuer{
		Name: name, Roots: known.Bundle(name), UID: string(record.UID), Generation: active.Number, Ledger: record.Ledger, Revisions: known.Revisions(name),
		known: known,
		Place: records.Place{Namespace: record.Namespace, NamespaceUID: record.NamespaceUID, HomeUID: record.HomeUID},
	}
	if pki.WithIdentity(out.Roots, active.Anchor) == nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: its trust bundle lacks the active CA: is its parent there?", name)
	}
	var err error
	if out.Bundle, err = pki.Bundle(out.Roots); err != nil {
		return notReady(v1alpha1.ReasonIssuerNotReady, "ClusterCA %q: render the trust bundle: %v", name, err)
	}
	if !record.WithoutKeys {
		if out.Signer, err = record.Signer(); err != nil {
			out.Reason, out.Message = v1alpha1.ReasonCAKeyMissing, fmt.Sprintf("ClusterCA %q cannot sign: %v", name, err)
			return out
		}
	}
	out.CA = new(record.CAs[active.Number].WithoutKey())
	if !plan.CanSign(r.Clock.Now(), out.CA) {
		out.Reason = v1alpha1.ReasonIssuerExpiring
		out.Message = fmt.Sprintf("ClusterCA %q ends too soon to sign anything: it must be rotated", name)
		return out
	}
	out.Reason, out.Message = v1alpha1.ReasonIssuerAvailable, fmt.Sprintf("ClusterCA %q can sign", name)
	return out
}

// RecordReader reads what the authority namespace says of a CA.
type RecordReader func(ctx context.Context, namespace, name string) (*authority.Record, error)

// Authorities are a CA and those above it.
func Authorities(ctx context.Context, from RecordReader, record *authority.Record) (consumers.Authorities, error) {
	out := consumers.Authorities{record.Name: AuthorityOf(record)}
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
			if err != nil && !authority.IsUnreadable(err) {
				return nil, err
			}
			if err == nil && parent != nil {
				out[name] = AuthorityOf(parent)
				wanted = append(wanted, parent)
			}
		}
	}
	return out, nil
}

// AuthorityOf is a CA as its consumers see it.
func AuthorityOf(r *authority.Record) consumers.Authority {
	return consumers.Authority{Ledger: r.Ledger, CAs: r.CAs, Copied: r.Copied()}
}
