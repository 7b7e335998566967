package plan_test

import (
	"crypto/x509"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

func desiredCA(mods ...func(*plan.DesiredCA)) plan.DesiredCA {
	d := plan.DesiredCA{Spec: pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "kubernetes", Organizations: []string{"example"}}, Key: key, Validity: 100 * day,
	}}
	for _, mod := range mods {
		mod(&d)
	}
	return d
}

func TestARenewalTime(t *testing.T) {
	pair, err := pki.SelfSign(start, desiredCA().Spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		mod  func(*plan.DesiredCA)
		want time.Duration
	}{
		"a fifth before the end": {func(*plan.DesiredCA) {}, 80 * day},
		"renewBefore":            {func(d *plan.DesiredCA) { d.RenewBefore = 30 * day }, 70 * day},
		"spread":                 {func(d *plan.DesiredCA) { d.Seed = 50 }, 78 * day},
	} {
		if got := desiredCA(tc.mod).RenewalTime(pair.Cert.NotBefore, pair.Cert.NotAfter); !got.Equal(whole.Add(tc.want)) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestFits says which certificates can go on with their key, whichever generation they are of.
func TestFits(t *testing.T) {
	for name, tc := range map[string]struct {
		number int32
		mod    func(*plan.DesiredCA)
		want   bool
	}{
		"the same":              {1, func(*plan.DesiredCA) {}, true},
		"of a later generation": {3, func(*plan.DesiredCA) {}, true},
		"other dates":           {12, func(d *plan.DesiredCA) { d.Spec.Validity *= 2 }, true},
		"another name":          {1, func(d *plan.DesiredCA) { d.Spec.Subject.CommonName = "other" }, false},
		"another organization":  {2, func(d *plan.DesiredCA) { d.Spec.Subject.Organizations = nil }, false},
		"another key":           {1, func(d *plan.DesiredCA) { d.Spec.Key = pki.KeySpec{Algorithm: pki.ECDSA, Size: 384} }, false},
	} {
		pair, err := pki.SelfSign(start, desiredCA().GenerationSpec(tc.number))
		if err != nil {
			t.Fatal(err)
		}
		if got := desiredCA(tc.mod).Fits(pair.Cert); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestGenerationsHaveTheirOwnName(t *testing.T) {
	d := desiredCA()
	for number, want := range map[int32]string{1: "kubernetes", 2: "kubernetes g2", 3: "kubernetes g3", 10: "kubernetes g10"} {
		r := d.GenerationSpec(number)
		if r.Subject.CommonName != want {
			t.Errorf("generation %d is named %q, want %q", number, r.Subject.CommonName, want)
		}
		r.Subject.CommonName = "kubernetes"
		if r.Hash() != d.Spec.Hash() {
			t.Errorf("generation %d differs in more than its name", number)
		}
	}
	if d.Spec.Subject.CommonName != "kubernetes" {
		t.Error("GenerationSpec changes its receiver")
	}
	certs := map[string]*x509.Certificate{}
	for _, number := range []int32{1, 2} {
		pair, err := pki.SelfSign(start, d.GenerationSpec(number))
		if err != nil {
			t.Fatal(err)
		}
		certs[string(pair.Cert.RawSubject)] = pair.Cert
	}
	if len(certs) != 2 {
		t.Error("two generations share a subject")
	}
}
