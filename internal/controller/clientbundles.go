package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
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

// bundles renders what the API server verifies its clients with. was is what was noted on the Secret that is there. A host takes the latest bundle of a CA
// for all its files: that of the CA which signs is here as it is beside the certificate. What another one has withdrawn waits for nobody's turn.
func (r *apiServerCertificates) bundles(ctx context.Context, c *v1alpha1.APIServerCertificate, was consumers.Claim, l leaf.Request) (clientBundles, error) {
	contained := was.Revisions()
	clients, err := r.join(ctx, c.Namespace, c.ClientCANames(), contained, l)
	if err != nil {
		return clientBundles{}, err
	}
	out := clientBundles{rendered: map[string]leaf.Rendered{clientBundleKey: clients.Rendered()}, wanting: clients.Issuer}
	if c.Spec.RequestHeaderCARef == nil {
		out.absent = []string{headerBundleKey}
		return out, nil
	}
	proxy, err := r.join(ctx, c.Namespace, []string{c.Spec.RequestHeaderCARef.Name}, contained, l)
	if err != nil {
		return clientBundles{}, err
	}
	out.rendered[headerBundleKey] = proxy.Rendered()
	out.keepApart(clients, proxy, was)
	if clients.Bundle != nil && proxy.Bundle == nil {
		out.wanting = proxy.Issuer
	}
	return out, nil
}

// keepApart leaves a bundle as it stands where it would gain a key that is in the other one, as that will stand: whoever has one of the keys of
// requestheader-ca.crt speaks for any user. Of CAs that are not known now, what they published last counts, as it was noted: what stands in the Secret
// somebody else may have written there, who would so keep a CA trusted that is to be withdrawn. The front proxy's bundle is not published for the first
// time before all others are known.
func (b *clientBundles) keepApart(clients, proxy joined, was consumers.Claim) {
	header, others := published(was, headerBundleKey), clients
	if clients.Bundle == nil {
		others = published(was, clientBundleKey)
	}
	b.refused = others.apartFrom(proxy)
	beside := proxy
	if b.refused != nil || proxy.Bundle == nil || clients.Bundle == nil && len(header.keys) == 0 {
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
	keys map[string]trusted // by digest: whoever has one of the keys is trusted
}

// trusted says, for messages, what has a key, and the subject of its certificate, "" where only the digest was noted.
type trusted struct{ by, subject string }

func newJoined() joined {
	return joined{Issuer: leaf.Issuer{Revisions: map[string]int64{}}, keys: map[string]trusted{}}
}

// published is what the operator published last under a key of a Secret.
func published(was consumers.Claim, key string) joined {
	out := newJoined()
	for _, id := range was.Keys[key] {
		out.keys[id] = trusted{by: "what was published last in " + key}
	}
	return out
}

// Rendered is the bundle as a part of a Secret, with its keys.
func (j joined) Rendered() leaf.Rendered {
	out := j.Issuer.Rendered()
	out.Keys = slices.Sorted(maps.Keys(j.keys))
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
		j.keys[pki.PublicKeyDigest(cert.PublicKey)] = trusted{what, cert.Subject.String()}
	}
}

// apartFrom says, as a stall, where the CAs of ordinary clients have a key in common with that of the front proxy. By whatever name
// they are called here, a client of one is then one of the other, and may speak for any user.
func (j joined) apartFrom(proxy joined) error {
	for _, id := range slices.Sorted(maps.Keys(j.keys)) {
		if theirs, common := proxy.keys[id]; common {
			ours := j.keys[id]
			return stall.Because(v1alpha1.ReasonClientCAShared,
				"%s, of the front proxy, and %s, of ordinary clients, have a key in common, that of %q: the API server would take clients of the one for the "+
					"aggregation layer, which speaks for any user. Give requestHeaderCARef a CA with a root of its own; until then requestheader-ca.crt and "+
					"client-ca.crt stay as they are, where they would gain such a key",
				theirs.by, ours.by, cmp.Or(theirs.subject, ours.subject))
		}
	}
	return nil
}

// join joins the trust bundles of some CAs. There is none while one of them has none: a part of it would lock
// that CA's clients out.
func (r *apiServerCertificates) join(ctx context.Context, namespace string, names []string, contained map[string]int64, l leaf.Request) (joined, error) {
	out := newJoined()
	for _, name := range names {
		iss, err := r.leaves.Read(ctx, namespace, name, contained)
		if err != nil {
			return joined{}, err
		}
		if iss.Bundle == nil {
			return joined{Issuer: iss}, nil
		}
		if name == l.CA && l.Awaits != nil {
			iss = iss.Until(l.Awaits)
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
