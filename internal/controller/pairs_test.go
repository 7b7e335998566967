package controller_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// pair is a certificate with the chain that is shown with it, and the bundle that has to accept it.
type pair struct {
	chain, bundle string // PEM
	purpose       string // as openssl calls it
}

// using is what the hosts of an object may be using: a key of those of its Secrets that a filter lets pass.
func (h *hosts) using(owner, key string, pass func(version) bool) []string {
	found := map[string]bool{}
	for _, d := range h.secrets {
		if d.owner != owner {
			continue
		}
		for _, v := range h.inUse(d) {
			if len(v.data[key]) > 0 && pass(v) {
				found[string(v.data[key])] = true
			}
		}
	}
	return slices.Collect(maps.Keys(found))
}

func anything(version) bool       { return true }
func isKubeconfig(v version) bool { return len(v.data["kubeconfig.files"]) > 0 }

// check verifies every pair of what may be in use.
func (h *hosts) check(after string) {
	h.meet()
	for host, server := range h.server {
		h.verify(after, host, server, pair{
			purpose: "sslserver",
		}, h.using(server, "tls.crt", anything), h.using(host, "ca.crt", isKubeconfig))
		h.verify(after, server, host, pair{purpose: "sslclient"}, h.using(host, "tls.crt", anything), h.using(server, "client-ca.crt", anything))
	}
	for proxy, ca := range h.proxies {
		for server, of := range h.headers {
			if of == ca {
				h.verify(after, server, proxy, pair{purpose: "sslclient"}, h.using(proxy, "tls.crt", anything), h.using(server, "requestheader-ca.crt", anything))
			}
		}
	}
	h.signers(after)
	h.count()
}

// signers looks at the pairs with which others sign for themselves: API servers must know them.
func (h *hosts) signers(after string) {
	for ca := range h.records {
		for _, signer := range h.using("ClusterCA/"+ca, "tls.crt", anything) {
			for name, d := range h.secrets {
				for _, v := range h.inUse(d) {
					if _, ok := v.Trust["client-ca.crt"][ca]; ok && !strings.Contains(fingerprints(v.data["client-ca.crt"]), fingerprints([]byte(signer))) {
						h.report("after %s: what is signed with the pair of %s is refused where Secret %s is in use", after, ca, name)
					}
				}
			}
		}
	}
}

// meet reads who meets whom. What an object said before it was deleted stays so for the Secrets that it left.
func (h *hosts) meet() {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, l := range []client.ObjectList{&servers, &credentials} {
		if err := h.api.List(context.WithoutCancel(h.t.Context()), l, client.InNamespace(h.ns)); err != nil {
			h.report("%v", err)
		}
	}
	for i := range credentials.Items {
		c := &credentials.Items[i]
		owner := "NodeCredential/" + c.Name
		if c.Spec.Kubeconfig != nil && c.Spec.APIServerRef != nil {
			h.server[owner] = "APIServerCertificate/" + c.Spec.APIServerRef.Name
		}
		if c.Spec.Role == "FrontProxyClient" {
			h.proxies[owner] = c.Spec.CARef.Name
		}
	}
	for i := range servers.Items {
		if ref := servers.Items[i].Spec.RequestHeaderCARef; ref != nil {
			h.headers["APIServerCertificate/"+servers.Items[i].Name] = ref.Name
		}
	}
}

// verify lets Go judge each pair of a chain and a bundle the first time that there is one.
func (h *hosts) verify(after, truster, shower string, p pair, chains, bundles []string) {
	for _, p.chain = range chains {
		for _, p.bundle = range bundles {
			if h.pairs[p] {
				continue
			}
			h.pairs[p] = true
			if err := p.verify(h.clock.Now()); err != nil {
				h.report("after %s: %s may refuse %s: %v", after, truster, shower, err)
				delete(h.pairs, p)
			}
		}
	}
}

var usageOf = map[string]x509.ExtKeyUsage{"sslserver": x509.ExtKeyUsageServerAuth, "sslclient": x509.ExtKeyUsageClientAuth}

// verify judges as Go does.
func (p pair) verify(now time.Time) error {
	chain, err := pki.ParseCertificates([]byte(p.chain))
	if err != nil {
		return err
	}
	roots, err := pki.ParseCertificates([]byte(p.bundle))
	if err != nil {
		return err
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usageOf[p.purpose]},
	}
	names := []string{}
	for _, c := range roots {
		opts.Roots.AddCert(c)
		names = append(names, c.Subject.CommonName)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err = chain[0].Verify(opts); err != nil {
		err = fmt.Errorf("%w: it is signed by %q, the bundle holds %q", err, chain[0].Issuer, names)
	}
	return err
}

// openssl lets the second verifier judge every pair that there ever was: it builds chains in another way than Go.
func (h *hosts) openssl() {
	h.mu.Lock()
	defer h.mu.Unlock()
	leaves := map[pair][]string{} // those that are shown with the same chain to the same bundle
	for p := range h.pairs {
		certs, err := pki.ParseCertificates([]byte(p.chain))
		if err != nil {
			h.report("%v", err)
			continue
		}
		p.chain = string(pki.EncodeCertificates(certs[1:]...))
		leaves[p] = append(leaves[p], string(pki.EncodeCertificates(certs[0])))
	}
	for p, shown := range leaves {
		if err := p.openssl(h.dir, h.clock.Now(), shown); err != nil {
			h.report("%v", err)
		}
	}
}

// openssl judges leaves, whose chain and bundle are those of the pair.
func (p pair) openssl(dir string, now time.Time, leaves []string) error {
	program, err := exec.LookPath("openssl")
	if err != nil {
		return fmt.Errorf("these tests need the program openssl, version 3 (Debian: apt-get install openssl): %w", err)
	}
	var files []string
	for _, text := range append([]string{p.bundle, p.chain}, leaves...) {
		sum := sha256.Sum256([]byte(text))
		file := filepath.Join(dir, hex.EncodeToString(sum[:8])+".crt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		files = append(files, file)
	}
	args := []string{"verify", "-purpose", p.purpose, "-no-CApath", "-attime", strconv.FormatInt(now.Unix(), 10), "-CAfile", files[0]}
	if p.chain != "" {
		args = append(args, "-untrusted", files[1])
	}
	out, err := exec.Command(program, append(args, files[2:]...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl refuses, as %s: %w\n%s", p.purpose, err, out)
	}
	return nil
}

// count notes how many objects may still be using a certificate of a generation before the one that signs now,
// although they have one of that.
func (h *hosts) count() {
	for ca, r := range h.records {
		signing, _ := r.Ledger.Active()
		flying := map[string]bool{}
		for _, d := range h.secrets {
			versions := h.inUse(d)
			if last := versions[len(versions)-1]; last.Issuer != ca || last.Generation != signing.Number {
				continue
			}
			if slices.ContainsFunc(versions, func(v version) bool { return v.Issuer == ca && v.Generation != signing.Number }) {
				flying[d.owner] = true
			}
		}
		h.flying[ca] = max(h.flying[ca], len(flying))
	}
}
