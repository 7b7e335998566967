// Package verifiers_test lets OpenSSL, Go and GnuTLS judge every kind of certificate that the operator issues, and zlint.
package verifiers_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/golden"
)

// must is for what cannot fail in a test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const day = 24 * time.Hour

var algorithms = []pki.KeySpec{
	{Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.ECDSA, Size: 384}, {Algorithm: pki.ECDSA, Size: 521},
	{Algorithm: pki.Ed25519},
}

// source is a way in which a CA comes about. roots are what a relying party of it holds.
type source struct {
	ca     pki.CA
	roots  []*x509.Certificate
	wrong  bool // strict verifiers refuse what is below it
	others bool // somebody else made it
}

func spec(name string, key pki.KeySpec) pki.CertificateSpec {
	return pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: key, Validity: 1000 * day}
}

// sources are the CAs of one kind of key.
func sources(now time.Time, key pki.KeySpec) map[string]source {
	self := must(pki.SelfSign(now, spec("k8s", key)))
	parent := must(pki.SelfSign(now, spec("root", key)))
	below := must(pki.SignCA(pki.GenerateKey, now, spec("middle", key), parent))
	old := must(pki.SelfSign(now, spec("old", key)))
	young := must(pki.SelfSign(now, spec("old g2", key)))
	young.CrossSigned = []*x509.Certificate{must(pki.CrossSign(now, young.Cert, old))}
	renewed := must(pki.RenewRoot(now.Add(time.Minute), 2000*day, self))
	out := map[string]source{
		"self-signed": {ca: self, roots: []*x509.Certificate{self.Cert}}, "intermediate": {ca: below, roots: []*x509.Certificate{parent.Cert}},
		"cross-signed": {ca: young, roots: []*x509.Certificate{old.Cert}}, "renewed in place": {ca: self, roots: []*x509.Certificate{renewed.Cert}},
		"imported":        importedBelow(now, key, nil),
		"AKI with serial": importedBelow(now, key, big.NewInt(7)), "AKI of another": wrong(importedBelow(now, key, big.NewInt(6))),
		"imported root":                  importedRoot(now, key, func(*x509.Certificate) {}),
		"imported root without keyUsage": wrong(importedRoot(now, key, func(c *x509.Certificate) { c.KeyUsage = 0 })), // as `openssl req -x509` makes it
	}
	out["imported root that another key has signed"] = signedByAnother(now, key)
	if sha1, can := sha1With[key.Algorithm]; can {
		out["imported root with SHA-1"] = importedRoot(now, key, func(c *x509.Certificate) { c.SignatureAlgorithm = sha1 })
	}
	return out
}

// sha1With are the signatures by SHA-1: there is none by Ed25519.
var sha1With = map[pki.Algorithm]x509.SignatureAlgorithm{pki.RSA: x509.SHA1WithRSA, pki.ECDSA: x509.ECDSAWithSHA1}

func wrong(s source) source { s.wrong = true; return s }

// foreign is a CA certificate as others make it.
func foreign(now time.Time, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Country: []string{"DE"}, CommonName: name}, NotBefore: now.Add(-day), NotAfter: now.Add(900 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("an SKI of " + name),
	}
}

// importedRoot is a root that signs leaves itself.
func importedRoot(now time.Time, key pki.KeySpec, mod func(*x509.Certificate)) source {
	rootKey, tmpl := must(pki.GenerateKey(key)), foreign(now, "corporate root")
	mod(tmpl)
	root := must(x509.ParseCertificate(must(x509.CreateCertificate(nil, tmpl, tmpl, rootKey.Public(), rootKey.Signer()))))
	return source{ca: pki.CA{Cert: root, Key: rootKey}, roots: []*x509.Certificate{root}, others: true}
}

// signedByAnother is a root of whose name and key somebody without the key has made a certificate.
func signedByAnother(now time.Time, key pki.KeySpec) source {
	s, tmpl := importedRoot(now, key, func(*x509.Certificate) {}), foreign(now, "corporate root")
	forger := must(pki.GenerateKey(key)).Signer()
	s.ca.Cert = must(x509.ParseCertificate(must(x509.CreateCertificate(nil, tmpl, tmpl, s.ca.Key.Public(), forger))))
	s.roots = []*x509.Certificate{s.ca.Cert}
	return s
}

// importedBelow is a CA below a root of serial number 7. Its AKI names a serial number, too, if there is one.
func importedBelow(now time.Time, key pki.KeySpec, serial *big.Int) source {
	caKey, tmpl := must(pki.GenerateKey(key)), foreign(now, "corporate")
	above := importedRoot(now, key, func(*x509.Certificate) {})
	root := above.ca.Cert
	if serial != nil {
		name := must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: root.RawSubject}))
		number := must(asn1.Marshal(serial))
		tmpl.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: must(asn1.Marshal([]asn1.RawValue{
			{Class: 2, Tag: 0, Bytes: root.SubjectKeyId}, {Class: 2, Tag: 1, IsCompound: true, Bytes: name}, {Class: 2, Tag: 2, Bytes: number[2:]},
		}))}}
	}
	cert := must(x509.ParseCertificate(must(x509.CreateCertificate(nil, tmpl, root, caKey.Public(), above.ca.Key.Signer()))))
	return source{ca: pki.CA{Cert: cert, Key: caKey, Root: root}, roots: above.roots, others: true}
}

// leaves are requests for every role, among them one that is no row of the table, and for an API server.
func leaves() map[string]pki.CertificateSpec {
	key := pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
	server := must(pki.APIServerSANs(pki.APIServerInput{HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.0.0/12", "fd00::/112"}}))
	out := map[string]pki.CertificateSpec{"APIServer": {
		Subject: pki.Subject{CommonName: "kube-apiserver"}, SANs: server, Usages: []pki.Usage{pki.ServerAuth}, Key: key, Validity: 90 * day,
	}}
	custom := must(pki.CustomRole("ci-deployer", []string{"deployers"}, []pki.Usage{pki.ClientAuth, pki.ServerAuth}))
	for _, role := range append(pki.Roles(), custom) {
		r := pki.CertificateSpec{
			Subject: pki.Subject{CommonName: role.CommonNameFor("k8s-node1"), Organizations: role.Organizations}, Usages: role.Usages, Key: key, Validity: 90 * day,
		}
		if role.HostSAN {
			r.SANs = must(pki.NewSANs([]string{"k8s-node1"}, []string{"10.0.0.11"}))
		}
		out[role.Name] = r
	}
	return out
}

// TestMatrix asks OpenSSL, strict and otherwise, Go and GnuTLS about a leaf of every role below every kind of CA with every kind of key, compares
// with what an import of that CA is answered, and all of it with the table of docs/verifiers.md.
func TestMatrix(t *testing.T) {
	now := time.Now()
	rows := [][]string{{"key", "CA", "accepted", "OpenSSL", "OpenSSL, strict", "Go", "GnuTLS"}}
	for _, key := range algorithms {
		all := sources(now, key)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			rows = append(rows, append([]string{key.String(), name}, cells(t, now, key.String()+", "+name, all[name])...))
		}
	}
	golden.Tables(t, filepath.Join("..", "..", "docs", "verifiers.md"), "matrix", rows)
}

// cells are a row of the table: whether a CA may be imported, and how many of the leaves each verifier accepts.
func cells(t *testing.T, now time.Time, what string, s source) []string {
	t.Helper()
	ours, count, requests := accepted(now, s), map[string]int{}, leaves()
	for role, request := range requests {
		got := verdictsOf(t, must(pki.Issue(now, request, s.ca)), s.roots)
		for who, yes := range got {
			if yes {
				count[who]++
			}
		}
		if both := got["OpenSSL"] && got["strict"] && got["Go"]; ours != both || ours && !got["GnuTLS"] || ours == s.wrong {
			t.Errorf("%s, %s: here %v, and %v", what, role, ours, got)
		}
	}
	row := []string{map[bool]string{true: "yes", false: "no"}[ours]}
	for _, who := range []string{"OpenSSL", "strict", "Go", "GnuTLS"} {
		row = append(row, fmt.Sprintf("%d of %d", count[who], len(requests)))
	}
	return row
}

// accepted says whether a CA may be imported. A root alone is its own chain.
func accepted(now time.Time, s source) bool {
	certs := append([]*x509.Certificate{s.ca.Cert}, s.ca.Chain...)
	if s.ca.Root != nil {
		certs = append(certs, s.ca.Root)
	}
	_, err := pki.CheckCA(now, pki.EncodeCertificates(certs...), must(s.ca.Key.Reveal()))
	return err == nil
}

// verdictsOf are what the verifiers say of a leaf that is presented with its chain, for each of its usages.
func verdictsOf(t *testing.T, leaf pki.Leaf, roots []*x509.Certificate) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, certs ...*x509.Certificate) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pki.EncodeCertificates(certs...), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	bundle, file, presented := write("roots", roots...), write("leaf", leaf.Cert), write("presented", append([]*x509.Certificate{leaf.Cert}, leaf.Chain...)...)
	out := map[string]bool{"OpenSSL": true, "strict": true, "Go": true, "GnuTLS": true}
	for _, usage := range leaf.Cert.ExtKeyUsage {
		purpose, id := "sslserver", "1.3.6.1.5.5.7.3.1"
		if usage == x509.ExtKeyUsageClientAuth {
			purpose, id = "sslclient", "1.3.6.1.5.5.7.3.2"
		}
		args := []string{"verify", "-no-CApath", "-no-CAstore", "-auth_level", "2", "-purpose", purpose, "-CAfile", bundle}
		if len(leaf.Chain) > 0 {
			args = append(args, "-untrusted", write("chain", leaf.Chain...))
		}
		ask := func(who, program string, args ...string) {
			out[who] = out[who] && exec.CommandContext(t.Context(), program, args...).Run() == nil
		}
		ask("OpenSSL", "openssl", append(args, file)...)
		ask("strict", "openssl", append(args, "-x509_strict", file)...)
		ask("GnuTLS", "certtool", "--verify", "--load-ca-certificate="+bundle, "--verify-purpose="+id, "--infile="+presented)
		opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
		for _, c := range roots {
			opts.Roots.AddCert(c)
		}
		for _, c := range leaf.Chain {
			opts.Intermediates.AddCert(c)
		}
		_, err := leaf.Cert.Verify(opts)
		out["Go"] = out["Go"] && err == nil
	}
	return out
}
