package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// claim settles which object may write a Secret that several name: the oldest. The others are stalled
// until it goes or names another. What a younger one had written there, the oldest takes over.
func (b *base) claim(ctx context.Context, l *leaf, secret string) error {
	rivals, err := b.claimants(ctx, l.owner.GetNamespace(), secret)
	if err != nil {
		return err
	}
	for _, r := range rivals {
		switch {
		case r.object.GetUID() == l.owner.GetUID():
		case older(r, claimant{l.kind, l.owner}):
			return stalled(v1alpha1.ReasonSecretConflict,
				"%s %q names Secret %q too and is older, so it keeps it: choose another name in the spec", r.kind, r.object.GetName(), secret)
		default:
			if l.outrank == nil {
				l.outrank = map[string]bool{}
			}
			l.outrank[ownerText(r.kind, r.object.GetName())] = true
		}
	}
	return nil
}

type claimant struct {
	kind   string
	object client.Object
}

func older(a, b claimant) bool {
	at, bt := a.object.GetCreationTimestamp(), b.object.GetCreationTimestamp()
	if !at.Time.Equal(bt.Time) {
		return at.Time.Before(bt.Time)
	}
	return ownerText(a.kind, a.object.GetName()) < ownerText(b.kind, b.object.GetName())
}

// claimants are the objects that name a Secret, looked up in the cache.
func (b *base) claimants(ctx context.Context, namespace, secret string) ([]claimant, error) {
	opts := []client.ListOption{
		client.InNamespace(namespace), client.MatchingFields{secretIndex: secret}, client.DisableReadYourWritesConsistency,
	}
	var servers v1alpha1.APIServerCertificateList
	if err := b.client.List(ctx, &servers, opts...); err != nil {
		return nil, fmt.Errorf("look up who names Secret %q: %w", secret, err)
	}
	var credentials v1alpha1.NodeCredentialList
	if err := b.client.List(ctx, &credentials, opts...); err != nil {
		return nil, fmt.Errorf("look up who names Secret %q: %w", secret, err)
	}
	var out []claimant
	for i := range servers.Items {
		out = append(out, claimant{kindAPIServerCertificate, &servers.Items[i]})
	}
	for i := range credentials.Items {
		out = append(out, claimant{kindNodeCredential, &credentials.Items[i]})
	}
	return out, nil
}
