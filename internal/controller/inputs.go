package controller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
)

// inputs are a digest of all that a visit to a credential is made from, by what the caches say of its version: the object, its
// Secrets and its Lease, what its host's agent has access to, the API server that it names, the CAs, the delivery keys, and the key of seals.
func (r *nodeCredentials) inputs(ctx context.Context, c *v1alpha1.NodeCredential) ([sha256.Size]byte, error) {
	keeper, err := r.keeper(ctx, c.Namespace)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	texts := []string{string(c.UID), c.ResourceVersion}
	for _, name := range c.SecretNames() {
		s, err := r.secrets.Cached(ctx, c.Namespace, name)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		if s == nil {
			texts = append(texts, absent())
			continue
		}
		texts = append(texts, string(s.UID), s.ResourceVersion)
	}
	ofDelivery, err := r.inputsOfDelivery(ctx, c)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	texts = append(texts, ofDelivery...)
	cas := c.CANames()
	if c.Spec.APIServerRef != nil {
		var api v1alpha1.APIServerCertificate
		err := r.client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Spec.APIServerRef.Name}, &api)
		if client.IgnoreNotFound(err) != nil {
			return [sha256.Size]byte{}, fmt.Errorf("read APIServerCertificate %q: %w", c.Spec.APIServerRef.Name, err)
		}
		texts = append(texts, "server", string(api.UID), fmt.Sprint(api.Generation))
		cas = append(cas, api.Spec.CARef.Name)
	}
	if desired.Serves(c) { // it may not do for an API server
		all, names, err := r.inputsOfServers(ctx, c.Namespace)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		texts, cas = append(texts, all...), append(cas, names...)
	}
	for _, name := range cas {
		of, err := r.inputsOfCA(ctx, c.Namespace, name)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		texts = append(texts, of...)
	}
	policies, err := r.leaves.Policies(ctx, c.Namespace, c.Spec.CARef.Name)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	text, err := json.Marshal(policies)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encode policies: %w", err)
	}
	texts = append(texts, string(text))
	return sha256.Sum256([]byte(keeper.Seal.Of(texts...))), nil
}

// absent stands for what should be there and is not. Whoever visits makes it, and it may be taken away again: that is the same state and yet another
// visit, where every version of what is there is another one.
func absent() string { return rand.Text() }

// inputsOfDelivery say which Lease there is, and by which keys is signed what an agent delivers.
func (r *nodeCredentials) inputsOfDelivery(ctx context.Context, c *v1alpha1.NodeCredential) (texts []string, err error) {
	lease, err := readLease(ctx, r.client, c.Namespace, c.LeaseName())
	if err != nil {
		return nil, err
	}
	switch {
	case lease != nil:
		texts = append(texts, "lease", string(lease.UID), lease.ResourceVersion)
	case c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent:
		texts = append(texts, absent())
	}
	if c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
		return texts, nil
	}
	version, err := r.store.DeliveryVersion(ctx, c.Namespace)
	return append(texts, "delivery", version, r.noAccess.of(agents.Host{Namespace: c.Namespace, Name: c.Spec.HostName})), err
}

// inputsOfServers say which API servers there are, and the CAs that they have to do with.
func (r *nodeCredentials) inputsOfServers(ctx context.Context, namespace string) (texts, cas []string, err error) {
	var all v1alpha1.APIServerCertificateList
	if err := r.client.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list APIServerCertificates: %w", err)
	}
	for i := range all.Items {
		c := &all.Items[i]
		texts = append(texts, fmt.Sprintf("%s/%d", c.UID, c.Generation))
		cas = append(cas, c.CANames()...)
	}
	slices.Sort(texts) // a cache has no order
	slices.Sort(cas)
	return texts, slices.Compact(cas), nil
}

// inputsOfCA say which CA there is of a name, and what those above it publish.
func (r *nodeCredentials) inputsOfCA(ctx context.Context, namespace, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	var ca v1alpha1.ClusterCA
	err := r.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	if apierrors.IsNotFound(err) {
		return []string{"no CA", name}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ClusterCA %q: %w", name, err)
	}
	texts := []string{"CA", name, string(ca.UID), ca.Status.Authority.NamespaceUID}
	record, err := r.store.Cached(ctx, namespace, name)
	if err != nil || record == nil {
		return texts, err
	}
	known, err := leaf.Authorities(ctx, r.store.Cached, record)
	if err != nil {
		return nil, err
	}
	texts = append(texts, string(record.UID), record.Version)
	for _, above := range slices.Sorted(maps.Keys(known)) {
		parent, err := r.store.Cached(ctx, namespace, above)
		if err != nil {
			return nil, err
		}
		if parent != nil {
			texts = append(texts, above, string(parent.UID), parent.Version)
		}
	}
	return texts, nil
}
