package accounts

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
)

// Served is what an API server is given of the service account keys that it names.
type Served struct {
	Secret string // that holds them
	// Document is what the document of its host is to say of them; nil: nothing.
	Document *delivery.ServiceAccounts
	// Held: what it is to say cannot be told now.
	Held bool
	// Missing says why there are no keys; "" where there are some, or were.
	Missing string
	// Waits says that others take their turns before it.
	Waits bool
}

// Serve says what an API server is given now. reported is what the agent of its host says. Which keys there are is read from the authority namespace,
// and never from a Secret of the user's.
func (m *Maker) Serve(ctx context.Context, c *v1alpha1.APIServerCertificate, reported consumers.Reported) (Served, error) {
	name := c.ServiceAccountKeyName()
	out := Served{Secret: name}
	var k v1alpha1.ServiceAccountKey
	err := m.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &k)
	if client.IgnoreNotFound(err) != nil {
		return out, fmt.Errorf("read ServiceAccountKey %q: %w", name, err)
	}
	if err == nil {
		out.Secret = k.KeySecretName()
	}
	record, why, err := m.published(ctx, c, &k, apierrors.IsNotFound(err))
	if err != nil {
		return out, err
	}
	if record == nil {
		return m.unserved(ctx, c, out, why)
	}
	p, err := publication(&k, record)
	if err != nil {
		return out, err
	}
	in, err := m.inputs(ctx, m.cached(), c.Namespace, name, p)
	if err != nil || c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
		return out, err
	}
	users := in.Users()
	i := slices.IndexFunc(users, func(u consumers.KeyUser) bool { return u.Name == c.Name })
	present := &delivery.ServiceAccounts{SHA256: p.SHA256, SwitchedAt: p.SwitchedAt}
	if i >= 0 && users[i].Turn {
		out.Document = present
		return out, nil
	}
	out.Waits = true
	named, err := m.named(ctx, c)
	if err != nil {
		return out, err
	}
	out.Document, out.Held = before(record, present, named, reported, out.Secret)
	return out, nil
}

// before is what the document of a host says until its turn comes: the keys that it names already or, where it cannot be read, those that the host has
// installed, as it has signed. An older publication than the last one is never named again. A host of which nothing is known has its keys at once, but
// while others await their turns: that nothing is known of it, whoever may write Secrets and Leases can bring about, and all hosts would restart at a time.
func before(
	record *authority.AccountKeys, present *delivery.ServiceAccounts, named document, reported consumers.Reported, secret string,
) (says *delivery.ServiceAccounts, held bool) {
	installed := ""
	if reported.Proof == ack.Signed && reported.Report.Installed != nil {
		installed = reported.Report.Installed.Contents[ack.ContentKey(secret, consumers.AccountPublicKey)]
	}
	switch {
	case !named.there && reported.Proof == ack.Unsigned && wasPublished(record, present.SHA256): // nothing else was, lately
		return present, false
	case named.keys != nil && named.keys.SHA256 == present.SHA256, installed == present.SHA256:
		return present, false
	case named.keys != nil && wasPublished(record, named.keys.SHA256):
		return named.keys, false
	case installed != "" && wasPublished(record, installed):
		return &delivery.ServiceAccounts{SHA256: installed}, false
	case named.there && named.keys == nil: // it names the key for the first time
		return nil, false
	default:
		return nil, true
	}
}

// wasPublished says whether what was published last, before the present publication, has a digest. One step lies between the two.
func wasPublished(record *authority.AccountKeys, digest string) bool {
	was := record.Next()
	was.Ledger = record.Ledger.Former()
	former, err := was.PublicSHA256()
	return err == nil && former == digest
}

// published is what the authority namespace has for an API server's ServiceAccountKey, as its cache says; nil, and why: nothing that counts now.
func (m *Maker) published(
	ctx context.Context, c *v1alpha1.APIServerCertificate, k *v1alpha1.ServiceAccountKey, absent bool,
) (record *authority.AccountKeys, why string, err error) {
	name := c.ServiceAccountKeyName()
	if absent {
		return nil, fmt.Sprintf("ServiceAccountKey %q does not exist", name), nil
	}
	record, err = m.Store.CachedAccountKeys(ctx, c.Namespace, name)
	switch {
	case authority.IsUnreadable(err):
		return nil, fmt.Sprintf("ServiceAccountKey %q: %v", name, err), nil
	case err != nil:
		return nil, "", err
	case record == nil || record.Tombstone():
		return nil, fmt.Sprintf("ServiceAccountKey %q has no key yet", name), nil
	case record.UID != k.UID || !record.Deleted.IsZero() || !m.Home.Keeps(record.Identity): // only its own reconciler binds it
		return nil, fmt.Sprintf("ServiceAccountKey %q has not taken up the keys of its name", name), nil
	}
	keeper, err := m.Keeper(ctx, c.Namespace)
	if err != nil {
		return nil, "", err
	}
	secret, err := m.secret(ctx, c.Namespace, k.KeySecretName())
	if err != nil {
		return nil, "", err
	}
	if err := outdated(keeper, k, secret, record); err != nil {
		return nil, err.Error(), nil //nolint:nilerr // it is told as what is wrong with the key
	}
	return record, "", nil
}

// secret is the Secret of the keys as the cache has it, however far that is behind; nil where it has none.
func (m *Maker) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := m.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	return &s, nil
}

// unserved is what an API server is given while nothing is known of its keys: its host keeps those that it has.
func (m *Maker) unserved(ctx context.Context, c *v1alpha1.APIServerCertificate, out Served, why string) (Served, error) {
	if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
		named, err := m.named(ctx, c)
		if err != nil {
			return out, err
		}
		if out.Document = named.keys; named.keys == nil {
			out.Held, out.Missing = true, why
		}
		return out, nil
	}
	keeper, err := m.Keeper(ctx, c.Namespace)
	if err != nil {
		return out, err
	}
	secret, err := m.secret(ctx, c.Namespace, out.Secret)
	if err != nil {
		return out, err
	}
	var claim consumers.Claim
	if secret != nil {
		claim, _ = keeper.ClaimOf(secret)
	}
	if claim.Keyring == 0 {
		out.Missing = why
	}
	return out, nil
}

// document is what is known of the document of a host.
type document struct {
	there bool                      // one is, signed by the operator for this host
	keys  *delivery.ServiceAccounts // that it names
}

// named reads the document of an API server's host, from the API server itself.
func (m *Maker) named(ctx context.Context, c *v1alpha1.APIServerCertificate) (document, error) {
	s, err := m.Secrets.Live(ctx, c.Namespace, c.TLSSecretName())
	if err != nil || s == nil || len(s.Data[consumers.DeliveryKey]) == 0 {
		return document{}, err
	}
	key, err := m.Store.StoredDelivery(ctx, c.Namespace)
	if err != nil || key == nil {
		return document{}, err
	}
	d, err := key.Open(s.Data[consumers.DeliveryKey])
	if err != nil || d.UID != string(c.UID) || d.Kind != c.Kind() || d.Host != c.Spec.HostName {
		return document{}, nil //nolint:nilerr // it is signed anew
	}
	return document{true, d.ServiceAccounts}, nil
}
