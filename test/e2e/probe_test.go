package e2e_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/probe"
	"clusterpki.io/operator/test/testenv"
)

var probed = probe.Key{Namespace: namespace, Name: "k8s-master"}

// TestProbe compares what the real kube-apiserver shows on the wire with the files that it was started from,
// and follows it while these are replaced under it.
func TestProbe(t *testing.T) {
	p := startProbe(t)
	first := masterFiles(t, hostfiles.ClientCA, hostfiles.APIServerCert, hostfiles.APIServerKey)
	before := settlesOnFiles(t, p)

	next, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-ca probed"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if before.Trusts(next.Cert) || !before.Dropped(next.Cert) {
		t.Error("it names a CA that it has not been given yet")
	}
	replaceMasterFile(t, hostfiles.ClientCA, slices.Concat(first[hostfiles.ClientCA], next.CertPEM()))
	leaf := reissued(t, first[hostfiles.APIServerCert])
	key, err := leaf.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	replaceMasterFile(t, hostfiles.APIServerKey, key)
	replaceMasterFile(t, hostfiles.APIServerCert, leaf.CertPEM())
	if after := settlesOnFiles(t, p); !after.Serves(leaf.Cert) || !after.Trusts(next.Cert) {
		t.Errorf("it settles on %+v", after)
	}

	for name, text := range first {
		replaceMasterFile(t, name, text)
	}
	if again := settlesOnFiles(t, p); !again.Dropped(next.Cert) || again.LeafSHA256 != before.LeafSHA256 {
		t.Errorf("with the first files it settles on %+v", again)
	}
}

func startProbe(t *testing.T) *probe.Prober {
	t.Helper()
	p := probe.New(probe.Options{Allow: testenv.Loopback})
	p.Set(probed, probe.Target{Addresses: []string{strings.TrimPrefix(shared.endpoint, "https://")}, Interval: 200 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- p.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return p
}

// settlesOnFiles waits until the API server shows what its files hold, and exactly that.
func settlesOnFiles(t *testing.T, p *probe.Prober) probe.Observation {
	t.Helper()
	leaf := certificates(t, hostfiles.APIServerCert)[0]
	var want [][]byte
	for _, ca := range append(certificates(t, hostfiles.ClientCA), certificates(t, hostfiles.FrontProxyCA)...) {
		want = append(want, ca.RawSubject)
	}
	slices.SortFunc(want, bytes.Compare)
	var seen probe.Observation
	if err := testenv.Wait(t.Context(), func() error {
		if seen = p.Observation(probed); !seen.Serves(leaf) || !slices.EqualFunc(seen.ClientCAs, want, bytes.Equal) {
			return fmt.Errorf("the probe sees %+v, not %s and %q", seen, pki.FingerprintOf(leaf), want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return seen
}

// masterFiles reads files of the master, and puts them back at the end if the test does not.
func masterFiles(t *testing.T, names ...string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(shared.hosts["k8s-master"].Directory, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = text
		t.Cleanup(func() { replaceMasterFile(t, name, text) })
	}
	return out
}

func certificates(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared.hosts["k8s-master"].Directory, name))
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// replaceMasterFile replaces a file of the master in one step, so that nobody reads half of it.
func replaceMasterFile(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join(shared.hosts["k8s-master"].Directory, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// reissued is another certificate for what one certifies, by the same CA, with another key.
func reissued(t *testing.T, text []byte) pki.Leaf {
	t.Helper()
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, ip := range certs[0].IPAddresses {
		addresses = append(addresses, ip.String())
	}
	sans, err := pki.NewSANs(certs[0].DNSNames, addresses)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.SubjectOf(certs[0]), SANs: sans, Usages: []pki.Usage{pki.ServerAuth},
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}, signingPair(t))
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}
