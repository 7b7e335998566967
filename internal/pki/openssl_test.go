package pki_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// openssl runs the second verifier: it builds chains in another way than Go and refuses what Go accepts.
func openssl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("these tests need the program openssl, version 3: install it (Debian: apt-get install openssl)")
	}
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	return string(out), err
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// accepted says which certificate files openssl accepts for a purpose, at the time now.
func accepted(t *testing.T, purpose, bundle string, files []string) map[string]bool {
	t.Helper()
	args := []string{"verify", "-purpose", purpose, "-no-CApath", "-attime", strconv.FormatInt(now.Unix(), 10), "-CAfile", bundle}
	out, err := openssl(t, append(args, files...)...)
	ok := map[string]bool{}
	for line := range strings.Lines(out) {
		if file, found := strings.CutSuffix(strings.TrimSpace(line), ": OK"); found {
			ok[file] = true
		}
	}
	if err == nil && len(ok) != len(files) {
		t.Fatalf("openssl verified %d of %d files and reported success:\n%s", len(ok), len(files), out)
	}
	return ok
}

var purposes = map[string]x509.ExtKeyUsage{"sslserver": x509.ExtKeyUsageServerAuth, "sslclient": x509.ExtKeyUsageClientAuth}

// everyRole is a request for each row of the table of roles, and for the API server.
func everyRole(t *testing.T, spec pki.KeySpec) map[string]pki.CertificateSpec {
	t.Helper()
	server := must(pki.APIServerSANs(pki.APIServerInput{
		HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.0.0/12", "fd00::/112"},
		DNSNames: []string{"*.example.com", "xn--fiq228c.example.com"},
	}))
	out := map[string]pki.CertificateSpec{"APIServer": leafRequest(func(r *pki.CertificateSpec) { r.Key, r.SANs = spec, server })}
	for _, role := range pki.Roles() {
		out[role.Name] = leafRequest(func(r *pki.CertificateSpec) {
			r.Subject = pki.Subject{CommonName: role.CommonNameFor("k8s-node1"), Organizations: role.Organizations}
			r.Key, r.Usages, r.SANs = spec, role.Usages, pki.SANs{}
			if role.HostSAN {
				r.SANs = sans("k8s-node1", "10.0.0.11")
			}
		})
	}
	return out
}

// leavesOf issues leaves of every role and with every kind of key: of every role with the default kind, below a CA of
// the default kind or of the seed's; otherwise a server, a client and both at once. Slow keys are few.
func leavesOf(t *testing.T, dir string, ca pki.CA) map[string]pki.Leaf {
	t.Helper()
	out := map[string]pki.Leaf{}
	all := slices.Contains([]pki.KeySpec{ecdsa256, rsa2048}, pki.SpecOf(ca.Key.Public()))
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ecdsa384, ecdsa521, ed25519k} {
		for role, r := range everyRole(t, spec) {
			few := spec == rsa2048 && role == "EtcdServer" ||
				spec != rsa2048 && slices.Contains([]string{"APIServer", "Kubelet", "EtcdServer"}, role)
			if few || all && spec == ecdsa256 {
				pair := issue(t, r, ca)
				out[write(t, dir, fmt.Sprintf("%s-%s.crt", role, spec), pair.CertPEM())] = pair
			}
		}
	}
	return out
}

// Every leaf of every role, under every kind of CA, must satisfy both verifiers for what it is meant for
// and neither for what it isn't; alone in the bundle as well as beside the CA's next generation.
func TestEveryLeafVerifiesInOpenSSLAndGo(t *testing.T) {
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ecdsa384, ecdsa521, ed25519k} {
		t.Run("CA of "+spec.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Key = spec }))
			next := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "kubernetes g2" }))
			leaves := leavesOf(t, dir, ca)
			for name, roots := range map[string][]*x509.Certificate{
				"alone": {ca.Cert}, "after the next": {next.Cert, ca.Cert}, // the signing one goes first
			} {
				verifyAll(t, name, write(t, dir, "ca.crt", must(pki.Bundle(roots))), roots, leaves)
			}
		})
	}
}

func verifyAll(t *testing.T, name, bundle string, roots []*x509.Certificate, leaves map[string]pki.Leaf) {
	t.Helper()
	var files []string
	for file := range leaves {
		files = append(files, file)
	}
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	for purpose, usage := range purposes {
		ok := accepted(t, purpose, bundle, files)
		for file, pair := range leaves {
			want := slices.Contains(pair.Cert.ExtKeyUsage, usage)
			_, err := pair.Cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
			if ok[file] != want || (err == nil) != want {
				t.Errorf("CA %s: %s as %s: openssl says %v, Go says %v, want %v", name, filepath.Base(file), purpose, ok[file], err, want)
			}
		}
	}
}

// Two keys under one name, as CAs had before generations were part of it: both verifiers must tell them
// apart by their key identifiers.
func TestTwoRootsOfOneNameVerify(t *testing.T) {
	dir := t.TempDir()
	old, young := selfSign(t, caRequest()), selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Key = ed25519k }))
	var files []string
	for i, ca := range []pki.CA{old, young} {
		files = append(files, write(t, dir, fmt.Sprintf("leaf%d.crt", i), issue(t, leafRequest(), ca).CertPEM()))
	}
	bundle := write(t, dir, "ca.crt", must(pki.Bundle([]*x509.Certificate{old.Cert, young.Cert})))
	if ok := accepted(t, "sslserver", bundle, files); len(ok) != 2 {
		t.Errorf("openssl accepts only %v", ok)
	}
}

// openssl must read the same from a certificate as the operator reports.
func TestOpenSSLReadsTheSame(t *testing.T) {
	dir := t.TempDir()
	pair := issue(t, leafRequest(), selfSign(t, caRequest()))
	file := write(t, dir, "leaf.crt", pair.CertPEM())
	out, err := openssl(t, "x509", "-in", file, "-noout", "-serial", "-fingerprint", "-sha256", "-startdate", "-enddate",
		"-ext", "basicConstraints,keyUsage,extendedKeyUsage,subjectAltName", "-dateopt", "iso_8601")
	if err != nil {
		t.Fatal(err, out)
	}
	text := strings.ReplaceAll(strings.ToLower(out), ":", "")
	for what, want := range map[string]string{
		"serial":      "serial=" + strings.ToLower(pki.SerialOf(pair.Cert)) + "\n",
		"fingerprint": "fingerprint=" + pki.FingerprintOf(pair.Cert) + "\n",
		"notBefore":   pair.Cert.NotBefore.Format("notbefore=2006-01-02 150405z"),
		"notAfter":    pair.Cert.NotAfter.Format("notafter=2006-01-02 150405z"),
		"no CA":       "ca" + "false", "critical": "basic constraints critical", "SANs": "dnsk8s-master, ip address10.96.0.1",
		"key usage": "key usage critical\n    digital signature\n", "extended": "tls web server authentication\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: openssl does not say %q:\n%s", what, want, out)
		}
	}
}

// The keys that are stored must be readable by what reads them on a host: openssl, besides Go.
func TestOpenSSLReadsKeys(t *testing.T) {
	dir := t.TempDir()
	for _, spec := range allSpecs {
		key := keyOf(t, spec)
		file := write(t, dir, spec.String()+".key", reveal(t, key))
		out, err := openssl(t, "pkey", "-in", file, "-pubout")
		if err != nil || !bytes.Contains([]byte(out), must(key.PublicPEM())) {
			t.Errorf("%v: %v\n%s", spec, err, out)
		}
	}
}

// The helper above must look at the time, or it would prove little.
func TestOpenSSLRefusesExpired(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.SelfSign(now.Add(-500*day), caRequest())
	if err != nil {
		t.Fatal(err)
	}
	expired, err := pki.Issue(now.Add(-400*day), leafRequest(), ca)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, "leaf.crt", expired.CertPEM())
	if ok := accepted(t, "sslserver", write(t, dir, "ca.crt", pki.EncodeCertificates(ca.Cert)), []string{file}); ok[file] {
		t.Error("openssl accepts an expired certificate")
	}
}
