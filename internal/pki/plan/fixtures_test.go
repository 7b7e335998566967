package plan_test

import (
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// start has a fraction of a second and a zone other than UTC, as clocks do.
var start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.FixedZone("CET", 3600))

const day = 24 * time.Hour

var key = pki.KeySpec{Algorithm: pki.Ed25519} // the fastest

// clusterCA is a CA that is made at start.
func clusterCA(t testing.TB, validity time.Duration) *pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(start, pki.CertificateSpec{Subject: pki.Subject{CommonName: "kubernetes"}, Key: key, Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	return &ca
}

// kubelet is a leaf of thirty days from a CA of ten years, with every default of these tests.
func kubelet(ca *pki.CA, mods ...func(*plan.Desired)) plan.Desired {
	d := plan.Desired{
		Spec: pki.CertificateSpec{
			Subject: pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}},
			Usages:  []pki.Usage{pki.ClientAuth}, Key: key, Validity: 30 * day,
		},
		Issuer: ca,
	}
	for _, mod := range mods {
		mod(&d)
	}
	return d
}

// issue makes what is desired, as a controller would store it.
func issue(t testing.TB, now time.Time, d plan.Desired) *plan.Observed {
	t.Helper()
	pair, err := pki.Issue(now, d.Spec, *d.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Observed{Leaf: pair, SpecHash: d.Spec.Hash()}
}
