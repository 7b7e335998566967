package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// clientBundles are what an API server verifies its clients with.
type clientBundles struct {
	rendered map[string]leaf.Rendered // by key of the Secret
	absent   []string                 // keys that it must not hold
	wanting  leaf.Issuer              // the CA that keeps one of them from being rendered, or ready
	refused  error                    // why one of them is left as it is
}

// bundles renders what the API server verifies its clients with. existing is the Secret that is there.
func (r *apiServerCertificates) bundles(
	ctx context.Context, c *v1alpha1.APIServerCertificate, existing *corev1.Secret, contained map[string]int64,
) (clientBundles, error) {
	clients, err := r.join(ctx, c.Namespace, c.ClientCANames(), contained)
	if err != nil {
		return clientBundles{}, err
	}
	out := clientBundles{rendered: map[string]leaf.Rendered{clientBundleKey: clients.Rendered()}, wanting: clients.Issuer}
	if c.Spec.RequestHeaderCARef == nil {
		out.absent = []string{headerBundleKey}
		return out, nil
	}
	proxy, err := r.join(ctx, c.Namespace, []string{c.Spec.RequestHeaderCARef.Name}, contained)
	if err != nil {
		return clientBundles{}, err
	}
	out.rendered[headerBundleKey] = proxy.Rendered()
	out.keepApart(clients, proxy, existing)
	if clients.Bundle != nil && proxy.Bundle == nil {
		out.wanting = proxy.Issuer
	}
	return out, nil
}

// keepApart leaves a bundle as it stands where it would gain a key that is in the other one, as that will stand: whoever has one of the keys of
// requestheader-ca.crt speaks for any user. Of CAs that are not known now, what they published last counts; and the front proxy's bundle is not
// published for the first time before all others are known.
func (b *clientBundles) keepApart(clients, proxy joined, existing *corev1.Secret) {
	header, others := stands(existing, headerBundleKey), clients
	if clients.Bundle == nil {
		others = stands(existing, clientBundleKey)
	}
	b.refused = others.apartFrom(proxy)
	beside := proxy
	if b.refused != nil || proxy.Bundle == nil || clients.Bundle == nil && header.Bundle == nil {
		b.rendered[headerBundleKey], beside = leaf.Rendered{}, header
	}
	if shared := clients.apartFrom(beside); shared != nil {
		b.rendered[clientBundleKey] = leaf.Rendered{}
		b.refused = stall.First(b.refused, shared)
	}
}

// joined are some CAs that are trusted together.
type joined struct {
	leaf.Issuer
	keys map[string]*x509.Certificate // CA certificates by the digest of their key: whoever has one of the keys is trusted
	of   map[string]string            // what has it, for messages
}

func newJoined() joined {
	return joined{Issuer: leaf.Issuer{Revisions: map[string]int64{}}, keys: map[string]*x509.Certificate{}, of: map[string]string{}}
}

// stands is what a Secret holds of a bundle. What cannot be read of it has no keys.
func stands(existing *corev1.Secret, key string) joined {
	out := newJoined()
	if existing == nil {
		return out
	}
	out.Bundle = existing.Data[key]
	if certs, err := pki.ParseCertificates(out.Bundle); err == nil {
		out.add("what stands in "+key, leaf.Issuer{Roots: certs})
	}
	return out
}

// add enters the keys of a CA.
func (j *joined) add(what string, iss leaf.Issuer) {
	certs := slices.Clone(iss.Roots)
	if iss.CA != nil {
		certs = append(certs, iss.CA.Cert)
		certs = append(certs, iss.CA.ChainBelow()...)
	}
	for _, cert := range certs {
		id := string(cert.RawSubjectPublicKeyInfo)
		j.keys[id], j.of[id] = cert, what
	}
}

// apartFrom says, as a stall, where the CAs of ordinary clients have a key in common with that of the front proxy. By whatever name
// they are called here, a client of one is then one of the other, and may speak for any user.
func (j joined) apartFrom(proxy joined) error {
	for _, id := range slices.Sorted(maps.Keys(j.keys)) {
		if cert, common := proxy.keys[id]; common {
			return stall.Because(v1alpha1.ReasonClientCAShared,
				"%s, of the front proxy, and %s, of ordinary clients, have a key in common, that of %q: the API server would take clients of the one for the "+
					"aggregation layer, which speaks for any user. Give requestHeaderCARef a CA with a root of its own; until then requestheader-ca.crt and "+
					"client-ca.crt stay as they are, where they would gain such a key",
				proxy.of[id], j.of[id], cert.Subject.String())
		}
	}
	return nil
}

// join joins the trust bundles of some CAs. There is none while one of them has none: a part of it would lock
// that CA's clients out.
func (r *apiServerCertificates) join(ctx context.Context, namespace string, names []string, contained map[string]int64) (joined, error) {
	out := newJoined()
	for _, name := range names {
		iss, err := r.leaves.Read(ctx, namespace, name, contained)
		if err != nil {
			return joined{}, err
		}
		if iss.Bundle == nil {
			return joined{Issuer: iss}, nil
		}
		for ca, revision := range iss.Revisions {
			if was, ok := out.Revisions[ca]; !ok || revision < was {
				out.Revisions[ca] = revision
			}
		}
		out.Roots = append(out.Roots, iss.Roots...)
		out.add(fmt.Sprintf("ClusterCA %q", name), iss)
	}
	var err error
	if out.Bundle, err = pki.Bundle(out.Roots); err != nil {
		return joined{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.clientCARefs: %v", err)
	}
	return out, nil
}
