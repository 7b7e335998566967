package inspect

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/status"
)

var configLine = regexp.MustCompile(`(?m)^[\s{]*"?kind"?:\s*"?Config"?\s*,?\s*$`)

func looksLikeKubeconfig(data []byte) bool {
	return configLine.Match(data) ||
		bytes.Contains(data, []byte("clusters")) && (bytes.Contains(data, []byte("users")) || bytes.Contains(data, []byte("contexts")))
}

// readKubeconfig describes a kubeconfig; nil: it is none. The parser's error is not handed on, since it may quote.
func readKubeconfig(data []byte) *Kubeconfig {
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil
	}
	k := &Kubeconfig{CurrentContext: status.Printable(config.CurrentContext)}
	for _, name := range slices.Sorted(maps.Keys(config.Contexts)) {
		c := config.Contexts[name]
		k.Contexts = append(k.Contexts, Context{
			status.Printable(name), status.Printable(c.Cluster), status.Printable(c.AuthInfo), status.Printable(c.Namespace),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(config.Clusters)) {
		k.Clusters = append(k.Clusters, clusterOf(name, config.Clusters[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(config.AuthInfos)) {
		k.Users = append(k.Users, userOf(name, config.AuthInfos[name]))
	}
	return k
}

func clusterOf(name string, c *api.Cluster) Cluster {
	out := Cluster{Name: status.Printable(name), Server: serverOf(c.Server), Insecure: c.InsecureSkipTLSVerify}
	switch {
	case len(c.CertificateAuthorityData) > 0:
		m := read("", c.CertificateAuthorityData)
		out.Certificates, out.Damage = m.Certificates, m.Damage
		if len(m.certs) == 0 && out.Damage == "" {
			out.Damage = "certificate-authority-data holds no certificate"
		}
	default:
		out.CAFile = status.Printable(c.CertificateAuthority)
	}
	return out
}

// serverOf is a server without what else a URL may carry.
func serverOf(server string) string {
	u, err := url.Parse(server)
	if err != nil || strings.Contains(u.Host+u.Path, "@") { // a password may hold a '/', with which the host ends
		return "malformed, and not shown: it may hold a password"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return status.Printable(u.String())
}

func userOf(name string, a *api.AuthInfo) User {
	out := User{Name: status.Printable(name)}
	var cert *x509.Certificate
	if len(a.ClientCertificateData) > 0 {
		m := read("", a.ClientCertificateData)
		out.Certificates, out.Damage = m.Certificates, m.Damage
		if len(m.certs) > 0 {
			cert = m.certs[0]
		} else if out.Damage == "" {
			out.Damage = "client-certificate-data holds no certificate"
		}
	} else {
		out.CertificateFile = status.Printable(a.ClientCertificate)
	}
	if len(a.ClientKeyData) > 0 {
		key, public := keyOf(a.ClientKeyData)
		fit(&key, public, cert)
		out.Key = &key
	} else {
		out.KeyFile = status.Printable(a.ClientKey)
	}
	for _, other := range []struct {
		name  string
		there bool
	}{
		{"token", a.Token != ""}, {"tokenFile", a.TokenFile != ""}, {"password", a.Password != "" || a.Username != ""},
		{"exec", a.Exec != nil}, {"auth-provider", a.AuthProvider != nil},
	} {
		if other.there {
			out.Other = append(out.Other, other.name)
		}
	}
	return out
}

// fit says whether a key is that of a certificate.
func fit(key *Key, public crypto.PublicKey, cert *x509.Certificate) {
	switch {
	case public == nil || cert == nil:
	case pki.SamePublicKey(public, cert.PublicKey):
		key.Fits = []string{"client-certificate-data"}
	default:
		key.Mismatch = true
	}
}
