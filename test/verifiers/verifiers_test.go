// Package verifiers_test lets OpenSSL, Go and GnuTLS judge every kind of certificate that the operator issues, and zlint.
package verifiers_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"clusterpki.io/operator/internal/pki"
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
	ca    pki.CA
	roots []*x509.Certificate
	wrong bool // its AKI names another signer
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
	return map[string]source{
		"self-signed": {self, []*x509.Certificate{self.Cert}, false}, "imported": imported(now, key, nil),
		"intermediate": {below, []*x509.Certificate{parent.Cert}, false}, "cross-signed": {young, []*x509.Certificate{old.Cert}, false},
		"renewed in place": {self, []*x509.Certificate{renewed.Cert}, false},
		"AKI with serial":  imported(now, key, big.NewInt(7)), "AKI of another": wrong(imported(now, key, big.NewInt(6))),
	}
}

func wrong(s source) source { s.wrong = true; return s }

// imported is a CA as others make it, below a root of serial number 7. Its AKI names a serial number, too, if there is one.
func imported(now time.Time, key pki.KeySpec, serial *big.Int) source {
	rootKey, caKey := must(pki.GenerateKey(key)), must(pki.GenerateKey(key))
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{Country: []string{"DE"}, CommonName: name}, NotBefore: now.Add(-day), NotAfter: now.Add(900 * day),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("an SKI of " + name),
		}
	}
	rootTemplate, tmpl := template("corporate root"), template("corporate")
	root := must(x509.ParseCertificate(must(x509.CreateCertificate(nil, rootTemplate, rootTemplate, rootKey.Public(), rootKey.Signer()))))
	if serial != nil {
		name := must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: root.RawSubject}))
		number := must(asn1.Marshal(serial))
		tmpl.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: must(asn1.Marshal([]asn1.RawValue{
			{Class: 2, Tag: 0, Bytes: root.SubjectKeyId}, {Class: 2, Tag: 1, IsCompound: true, Bytes: name}, {Class: 2, Tag: 2, Bytes: number[2:]},
		}))}}
	}
	cert := must(x509.ParseCertificate(must(x509.CreateCertificate(nil, tmpl, root, caKey.Public(), rootKey.Signer()))))
	return source{ca: pki.CA{Cert: cert, Key: caKey, Root: root}, roots: []*x509.Certificate{root}}
}

// leaves are requests for every role, and for an API server.
func leaves() map[string]pki.CertificateSpec {
	key := pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
	server := must(pki.APIServerSANs(pki.APIServerInput{HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.0.0/12", "fd00::/112"}}))
	out := map[string]pki.CertificateSpec{"APIServer": {
		Subject: pki.Subject{CommonName: "kube-apiserver"}, SANs: server, Usages: []pki.Usage{pki.ServerAuth}, Key: key, Validity: 90 * day,
	}}
	for _, role := range pki.Roles() {
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

// TestMatrix asks OpenSSL, strict and otherwise, Go and GnuTLS about a leaf of every role below every kind of CA with every kind of key, and compares
// with what an import of that CA is answered. `go test -v` prints the table.
func TestMatrix(t *testing.T) {
	now := time.Now()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "key\tsource\tleaves\there\tOpenSSL\tstrict\tGo\tGnuTLS")
	cells := 0
	for _, key := range algorithms {
		all := sources(now, key)
		for _, name := range slices.Sorted(keysOf(all)) {
			s := all[name]
			ours := accepted(now, s)
			count := map[string]int{}
			requests := leaves()
			for _, role := range slices.Sorted(keysOf(requests)) {
				leaf := must(pki.Issue(now, requests[role], s.ca))
				cells++
				got := verdictsOf(t, leaf, s.roots)
				for who, yes := range got {
					if yes {
						count[who]++
					}
				}
				if both := got["OpenSSL"] && got["strict"] && got["Go"]; ours != both || ours && !got["GnuTLS"] || ours == s.wrong {
					t.Errorf("%s, %s, %s: here %v, and %v", key, name, role, ours, got)
				}
			}
			n := len(requests)
			of := func(who string) string { return fmt.Sprintf("%d/%d", count[who], n) }
			fmt.Fprintf(w, "%s\t%s\t%d\t%v\t%s\t%s\t%s\t%s\n", key, name, n, ours, of("OpenSSL"), of("strict"), of("Go"), of("GnuTLS"))
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cells\n%s", cells, table.String())
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
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
