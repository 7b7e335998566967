package export

import (
	"crypto/x509"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// compareAll compares the trust bundles that an object should have in a Secret.
func (g *gatherer) compareAll(secret string, data map[string][]byte, uses []consumers.Use) {
	for _, u := range uses {
		if u.Secret == secret && u.Key != corev1.TLSCertKey {
			g.compare(secret, data, u.Key, u.CAs...)
		}
	}
}

// compare notes a trust bundle of a Secret that is not what its ClusterCAs publish: the operator is at it, or somebody
// has changed the Secret. The ConfigMaps of that name say nothing: more people can write them than Secrets.
func (g *gatherer) compare(secret string, data map[string][]byte, key string, cas ...string) {
	if len(data[key]) == 0 {
		return // it is noted that it is missing
	}
	certs, err := pki.ParseCertificates(data[key])
	if err != nil {
		g.problem("Secret %q: %s: %v", secret, key, err)
		return
	}
	var published []*x509.Certificate
	for _, ca := range cas {
		digest, ok := g.published(ca)
		if !ok {
			return
		}
		found := withDigest(certs, digest)
		if found == nil {
			g.problem("Secret %q holds as %s another trust bundle than ClusterCA %q publishes, whose status.trust.bundleSHA256 is %s: "+
				"the operator is between two writes, or somebody has changed the Secret; try again", secret, key, ca, digest)
			return
		}
		g.bundles[ca] = found
		published = append(published, found...)
	}
	for _, c := range certs {
		if !slices.ContainsFunc(published, c.Equal) {
			g.problem("Secret %q holds as %s a certificate that no ClusterCA of %v publishes, of %q: "+
				"the operator is between two writes, or somebody has changed the Secret; try again", secret, key, cas, c.Subject)
		}
	}
}

// published is what a ClusterCA says of its trust bundle.
func (g *gatherer) published(ca string) (digest string, ok bool) {
	for i := range g.all.CAs {
		if c := &g.all.CAs[i]; c.Name == ca {
			if c.Status.Trust.BundleSHA256 == "" {
				g.problem("ClusterCA %q does not say yet which trust bundle it publishes: is the operator running?", ca)
			}
			return c.Status.Trust.BundleSHA256, c.Status.Trust.BundleSHA256 != ""
		}
	}
	g.problem("ClusterCA %q does not exist: nothing says which trust bundle is right", ca)
	return "", false
}

// withDigest finds the bundle of a digest among certificates that are those of one or several ClusterCAs, one after the other.
func withDigest(certs []*x509.Certificate, digest string) []*x509.Certificate {
	for from := range certs {
		for to := from + 1; to <= len(certs); to++ {
			if pki.BundleDigest(certs[from:to]) == digest {
				return certs[from:to]
			}
		}
	}
	return nil
}
