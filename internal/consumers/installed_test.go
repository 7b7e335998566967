package consumers_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestManualIsBoundedByWhatIsPublished: nothing that a person states counts but the digest of the bundle that is published now,
// whatever the ledger was before, or will be.
func TestManualIsBoundedByWhatIsPublished(t *testing.T) {
	r := newRotating()
	before := consumers.Authorities{"k8s": active(r.old)}
	rebuilt := consumers.Authorities{"k8s": active(r.new)}
	rebuilt["k8s"] = consumers.Authority{CAs: rebuilt["k8s"].CAs, Ledger: plan.Ledger{Revision: 1, BundleRevision: 1, Last: 1, Generations: rebuilt["k8s"].Ledger.Generations}}
	for name, tc := range map[string]struct {
		digest string
		counts bool
	}{
		"what is published":                 {pki.BundleDigest(r.all.Bundle("k8s")), true},
		"in other letters":                  {strings.ToUpper(pki.BundleDigest(r.all.Bundle("k8s"))), false},
		"what was published before":         {pki.BundleDigest(before.Bundle("k8s")), false},
		"what may be published next":        {pki.BundleDigest(r.withdrawn().Bundle("k8s")), false},
		"what a rebuilt ledger would":       {pki.BundleDigest(rebuilt.Bundle("k8s")), false},
		"what was never published":          {strings.Repeat("f", 64), false},
		"the digest of no bundle":           {pki.BundleDigest(nil), false},
		"the largest revision there can be": {"9223372036854775807", false},
		"nothing":                           {"", false},
	} {
		n := product("n-tls", "n", leaf(r.new), r.bundle())
		d := manual(serialOf(n), v1alpha1.AcknowledgedTrust{Name: "k8s", BundleSHA256: tc.digest})
		in := consumers.Inputs{Credentials: []v1alpha1.NodeCredential{credential("n", "k8s", d)}, Authorities: r.all, Products: []consumers.Product{n}}
		if c := ask(t, in, "k8s")["NodeCredential/n"]; c.Trusts != tc.counts {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestNoBundleIsNotAcknowledged: of a subordinate CA a certificate is lost, and with it its bundle. Its digest would be that of nothing.
func TestNoBundleIsNotAcknowledged(t *testing.T) {
	r := newRotating()
	lost := authorityOf([]plan.State{plan.Active, plan.Trusted}, below("sub", r.new), pki.CA{})
	lost.Ledger.Generations[0].Parent = plan.Parent{Name: "k8s", Generation: 2}
	r.all["sub"] = lost
	if r.all.Bundle("sub") != nil || !r.all.Relies("sub", "k8s") {
		t.Fatal("the bundle is known, or nobody relies on the parent")
	}
	n := product("n-tls", "n", leaf(lost.CAs[1]), r.bundle())
	d := manual(serialOf(n), v1alpha1.AcknowledgedTrust{Name: "sub", BundleSHA256: pki.BundleDigest(nil)})
	in := consumers.Inputs{Credentials: []v1alpha1.NodeCredential{credential("n", "sub", d)}, Authorities: r.all, Products: []consumers.Product{n}}
	if c := ask(t, in, "k8s")["NodeCredential/n"]; !c.RelyingParty || c.Trusts {
		t.Errorf("%+v", c)
	}
}

// TestAcknowledge: only files that hold what is issued and published, and nothing else, are acknowledged.
func TestAcknowledge(t *testing.T) {
	r := newRotating()
	now, late := leaf(r.new), leaf(r.old)
	issued := v1alpha1.CertificateStatus{SerialNumber: pki.SerialOf(now.Cert), SHA256Fingerprint: pki.FingerprintOf(now.Cert)}
	bundles := map[string][]certificate{"k8s": anchors(r.old, r.new), "etcd": anchors(r.etcd)}
	file := func(key string, of []certificate, cas ...string) consumers.Installed {
		return consumers.Installed{Use: consumers.Use{Secret: "n-tls", Key: key, CAs: cas}, File: key, Certificates: of}
	}
	tls := file(corev1.TLSCertKey, anchors(pki.CA{Cert: now.Cert}), "k8s")
	ca := file(consumers.BundleKey, anchors(r.new, r.old), "k8s")
	both := file(consumers.ClientBundleKey, anchors(r.old, r.etcd, r.new), "k8s", "etcd")
	for name, tc := range map[string]struct {
		files []consumers.Installed
		trust []string
		wrong string
	}{
		"a copy of a CA's key":       {[]consumers.Installed{tls}, nil, ""},
		"a credential":               {[]consumers.Installed{tls, ca}, []string{"k8s"}, ""},
		"with a kubeconfig":          {[]consumers.Installed{tls, ca, tls, ca}, []string{"k8s"}, ""},
		"an API server":              {[]consumers.Installed{tls, ca, both}, []string{"k8s", "etcd"}, ""},
		"the certificate before":     {[]consumers.Installed{file(corev1.TLSCertKey, anchors(pki.CA{Cert: late.Cert}), "k8s"), ca}, nil, "is issued: bring that one"},
		"no certificate":             {[]consumers.Installed{file(corev1.TLSCertKey, nil, "k8s"), ca}, nil, "holds no certificate"},
		"the bundle before":          {[]consumers.Installed{tls, file(consumers.BundleKey, anchors(r.old), "k8s")}, nil, `lacks the certificate of "CN=k8s g2"`},
		"a bundle with one too many": {[]consumers.Installed{tls, file(consumers.BundleKey, anchors(r.old, r.new, r.etcd), "k8s")}, nil, `"CN=etcd" that none of ["k8s"] publishes`},
		"one of two bundles":         {[]consumers.Installed{tls, ca, file(consumers.ClientBundleKey, anchors(r.old, r.new), "k8s", "etcd")}, nil, `"CN=etcd" that ClusterCA "etcd"`},
		"two at once":                {[]consumers.Installed{file(corev1.TLSCertKey, nil, "k8s"), file(consumers.BundleKey, nil, "k8s")}, nil, "tls.crt holds no certificate\nca.crt lacks"},
	} {
		got, err := consumers.Acknowledge(tc.files, issued, bundles)
		if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%s: %v", name, err)
		}
		if tc.wrong != "" {
			continue
		}
		var names []string
		for _, b := range got.Trust {
			names = append(names, b.Name)
			if b.BundleSHA256 != pki.BundleDigest(bundles[b.Name]) {
				t.Errorf("%s: %+v", name, b)
			}
		}
		if !slices.Equal(names, tc.trust) || got.SerialNumber != issued.SerialNumber {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := consumers.Acknowledge([]consumers.Installed{tls}, v1alpha1.CertificateStatus{}, nil); err == nil {
		t.Error("what is not issued can be acknowledged")
	}
}
