package agent

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// bundlePaths are the files that say whom the components of a host trust.
var bundlePaths = []string{hostfiles.CA, hostfiles.ClientCA, hostfiles.FrontProxyCA, hostfiles.EtcdCA, hostfiles.KubeletCA}

// trusts are, by path, the ClusterCAs that a bundle is of, as the operator has signed it.
type trusts map[string][]string

// of are the ClusterCAs of a bundle that was delivered for a path. Of two bundles that are equal, as those of two intermediate CAs below one root are, it is
// the one that goes there.
func (d delivered) of(o object, f hostdir.File) []string {
	keys := append([]string{o.bundleAt(f.Path)}, slices.Sorted(maps.Keys(d.Trust))...)
	for _, key := range keys {
		if cas := d.Trust[key]; len(cas) > 0 && bytes.Equal(d.tls[key], f.Data) {
			return slices.Sorted(maps.Keys(cas))
		}
	}
	return nil
}

// bundleAt is the key of the Secret whose bundle goes to a path.
func (o object) bundleAt(path string) string {
	switch {
	case o.api != nil && path == hostfiles.ClientCA:
		return clientKey
	case o.hasKubeconfig() && path == hostfiles.CA:
		return serverKey
	default:
		return bundleKey
	}
}

// foreign says why files must not be installed unless a person on the host says so: a bundle that trusts nobody whom this host trusts at its place.
// What a ClusterCA publishes now follows on what it has published, whichever keys it has changed, also in an emergency. Another ClusterCA does not.
func (c *Config) foreign(o object, files []hostdir.File, d delivered, l layout, were trusts) error {
	for _, f := range files {
		before, err := pki.ParseCertificates(l.current[f.Path].Data)
		if err != nil || !slices.Contains(bundlePaths, f.Path) { // there is none to compare with
			continue
		}
		after, err := pki.ParseCertificates(f.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		now, was := d.of(o, f), were[f.Path]
		follows := slices.ContainsFunc(now, func(ca string) bool { return slices.Contains(was, ca) })
		id := pki.BundleDigest(after)
		if follows || shareKey(before, after) || slices.Contains(c.ReplacePKI, id) {
			continue
		}
		return fmt.Errorf("%s: %s on this host is the trust bundle of %s, and what is delivered is that of %s, without a key in common. If that is meant, "+
			"write %s into replacePKI of the host's configuration, and restart the agent", v1alpha1.ReasonForeignPKI, f.Path, called(was), called(now), id)
	}
	return nil
}

func called(cas []string) string {
	if len(cas) == 0 {
		return "an unnamed CA"
	}
	return "ClusterCA " + strings.Join(cas, " and ")
}

func shareKey(a, b []*x509.Certificate) bool {
	return slices.ContainsFunc(a, func(x *x509.Certificate) bool {
		return slices.ContainsFunc(b, func(y *x509.Certificate) bool { return pki.SamePublicKey(x.PublicKey, y.PublicKey) })
	})
}

// trusts are those of the files of a layout: of what was delivered now, else of what was there before.
func (l *layout) trusts(objects []object, fresh map[string]freshFiles, were trusts) trusts {
	out := trusts{}
	for _, p := range bundlePaths {
		f, there := l.paths[p]
		if !there {
			continue
		}
		if bytes.Equal(f.Data, l.current[p].Data) && were[p] != nil {
			out[p] = were[p]
		}
		for _, o := range objects {
			n := fresh[o.lease]
			if !slices.ContainsFunc(n.files, func(own hostdir.File) bool { return own.Path == p }) {
				continue
			}
			if cas := n.delivered.of(o, f); cas != nil {
				out[p] = cas
				break
			}
		}
	}
	return out
}
