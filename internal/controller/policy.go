package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/stall"
)

// denied says, as a stall, why a spec gets nothing issued: it cannot be carried out, or a policy does not allow it. An error: that cannot be
// told now.
func denied(invalid error, mayHave func() error) (stalled, err error) {
	if invalid != nil {
		return invalid, nil
	}
	if err = mayHave(); stall.Is(err) {
		return err, nil
	}
	return nil, err
}

// mayHave says why a CA may not issue what is asked of it; it is a stall, and else an error of reading. The policies are the ones that it was
// asked by; none where there is no such CA, which is told as what is wrong with the issuer.
func (b *base) mayHave(ctx context.Context, l leaf.Request, a policy.Asked) ([]policy.Authority, error) {
	chain, err := b.leaves.Policies(ctx, l.Owner.GetNamespace(), l.CA)
	if err != nil {
		return nil, err
	}
	return chain, policy.Denied(chain, a)
}

// mayHave says why the credential may not have what it asks for.
func (r *nodeCredentials) mayHave(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request) error {
	chain, err := r.base.mayHave(ctx, l, desired.AskedByCredential(c, l.Desired))
	serving, serves := desired.ServingCredential(c, l.Desired)
	if err != nil || !serves || len(chain) == 0 {
		return err
	}
	servers, err := r.servers(ctx, c.Namespace, l.CA)
	if err != nil {
		return err
	}
	return policy.Imitates(chain, servers, serving)
}

// servers are the API servers of a namespace, with what a CA has to do with each.
func (r *nodeCredentials) servers(ctx context.Context, namespace, ca string) ([]policy.Server, error) {
	var all v1alpha1.APIServerCertificateList
	if err := r.client.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list APIServerCertificates: %w", err)
	}
	known := map[string][]*x509.Certificate{}
	var out []policy.Server
	for i := range all.Items {
		c := &all.Items[i]
		server, err := desired.ServerOf(c)
		if err != nil {
			continue // it is told of that object
		}
		if server.Serves, err = r.trustedAlike(ctx, known, namespace, ca, c.Spec.CARef.Name); err != nil {
			return nil, err
		}
		if server.Authenticates, err = r.trustedAlike(ctx, known, namespace, ca, c.CANames()[1:]...); err != nil {
			return nil, err
		}
		out = append(out, server)
	}
	return out, nil
}

// trustedAlike says whether who trusts one of some CAs trusts a certain one too: they have an anchor's key in common.
func (r *nodeCredentials) trustedAlike(ctx context.Context, known map[string][]*x509.Certificate, namespace, ca string, others ...string) (bool, error) {
	if slices.Contains(others, ca) {
		return true, nil
	}
	for _, name := range append([]string{ca}, others...) {
		if _, there := known[name]; there {
			continue
		}
		record, err := r.store.Cached(ctx, namespace, name)
		if err != nil || record == nil {
			known[name] = nil // nothing was issued from it, or nothing can be now
			continue
		}
		authorities, err := leaf.Authorities(ctx, r.store.Cached, record)
		if err != nil {
			return false, err
		}
		known[name] = authorities.Bundle(name)
	}
	for _, name := range others {
		for _, anchor := range known[name] {
			if slices.ContainsFunc(known[ca], func(c *x509.Certificate) bool { return pki.SamePublicKey(c.PublicKey, anchor.PublicKey) }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// untilItEnds tells, of a certificate that is there and could not be issued again, until when it is usable.
func untilItEnds(err error, st leaf.State, usable bool) error {
	denied, ok := stall.Of(err)
	if !ok || denied.Reason != v1alpha1.ReasonPolicyDenied || !st.Readable() || !usable {
		return err
	}
	told := *denied
	end := st.Observed.Leaf.Cert.NotAfter.UTC().Format(time.RFC3339)
	told.Message += fmt.Sprintf(". The certificate that is there stays in use, is not renewed, and ends at %s", end)
	return &told
}
