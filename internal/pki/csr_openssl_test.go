package pki_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// What openssl makes is accepted, and signed for the key that it made; what is made here is accepted by openssl.
func TestOpenSSLRequests(t *testing.T) {
	dir := t.TempDir()
	ca := selfSign(t, caRequest())
	for name, tc := range map[string]struct {
		r    pki.CertificateSpec
		args []string
	}{
		"ECDSA-256": {kubelet(), []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"}},
		"ECDSA-384": {kubelet(func(r *pki.CertificateSpec) { r.Key = ecdsa384 }), []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"}},
		"RSA-2048":  {kubelet(func(r *pki.CertificateSpec) { r.Key = rsa2048 }), []string{"-newkey", "rsa:2048"}},
		"Ed25519":   {kubelet(func(r *pki.CertificateSpec) { r.Key = ed25519k }), []string{"-newkey", "ed25519"}},
		"SANs": {leafRequest(func(r *pki.CertificateSpec) { r.Subject = kubelet().Subject }), []string{
			"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "subjectAltName=DNS:k8s-master,IP:10.96.0.1",
			"-addext", "extendedKeyUsage=serverAuth", "-addext", "keyUsage=digitalSignature", "-addext", "basicConstraints=CA:FALSE",
		}},
	} {
		key, file := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".csr")
		args := append([]string{"req", "-new", "-nodes", "-keyout", key, "-out", file, "-subj", "/O=system:nodes/CN=system:node:k8s-node1"}, tc.args...)
		if out, err := openssl(t, args...); err != nil {
			t.Fatal(name, err, out)
		}
		csr, err := pki.ParseCSR(must(os.ReadFile(file)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := tc.r.Refuses(csr); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		pair := must(pki.IssueFor(now, tc.r, csr.PublicKey, ca))
		if _, err := pki.ParseLeaf(pair.CertPEM(), must(os.ReadFile(key))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for role, r := range everyRole(t, ecdsa256) {
		file := write(t, dir, role+".csr", must(pki.NewCSR(r, keyOf(t, ecdsa256))))
		out, err := openssl(t, "req", "-in", file, "-noout", "-verify", "-subject", "-text", "-nameopt", "RFC2253,sep_comma_plus_space")
		if err != nil || !strings.Contains(out, "CN="+r.Subject.CommonName) {
			t.Errorf("%s: %v\n%s", role, err, out)
		}
		for _, name := range r.SANs.DNSNames {
			if !strings.Contains(out, "DNS:"+name) {
				t.Errorf("%s: openssl does not read the name %s:\n%s", role, name, out)
			}
		}
		for _, u := range r.Usages {
			if text := map[pki.Usage]string{pki.ClientAuth: "TLS Web Client", pki.ServerAuth: "TLS Web Server"}[u]; !strings.Contains(out, text) {
				t.Errorf("%s: openssl does not read %q:\n%s", role, text, out)
			}
		}
	}
}

// What the docs say of openssl works, and the request that they show is accepted for the credential that they show.
func TestRequestIsMadeAsTheDocsSay(t *testing.T) {
	page := string(must(os.ReadFile(filepath.Join("..", "..", "docs", "nodecredential.md"))))
	_, command, found := strings.Cut(page, "```sh\nopenssl req ")
	command, _, ended := strings.Cut(command, "```")
	_, shown, there := strings.Cut(page, "    -----BEGIN CERTIFICATE REQUEST-----\n")
	shown, _, whole := strings.Cut(shown, "  delivery:")
	if !found || !ended || !there || !whole {
		t.Fatal("the page shows no command, or no request")
	}
	dir := t.TempDir()
	command = "openssl req " + command
	c := exec.CommandContext(t.Context(), "sh", "-c", command)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := must(os.ReadFile(filepath.Join(dir, "kubelet-client.csr")))
	for name, text := range map[string][]byte{
		"made": made, "shown": []byte("-----BEGIN CERTIFICATE REQUEST-----\n" + strings.ReplaceAll(shown, "    ", "")),
	} {
		csr, err := pki.ParseCSR(text)
		if err == nil {
			err = kubelet().Refuses(csr)
		}
		if err != nil {
			t.Errorf("the request that is %s: %v", name, err)
		}
	}
	csr, key := must(pki.ParseCSR(made)), must(pki.ParsePrivateKey(must(os.ReadFile(filepath.Join(dir, "kubelet-client.key")))))
	if !pki.SamePublicKey(csr.PublicKey, key.Public()) {
		t.Error("the key is another one")
	}
}
