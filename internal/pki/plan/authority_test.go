package plan_test

import (
	"crypto/x509"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

func desiredCA(mods ...func(*plan.DesiredCA)) plan.DesiredCA {
	d := plan.DesiredCA{Request: pki.Request{
		Subject: pki.Subject{CommonName: "kubernetes", Organizations: []string{"example"}}, Key: key, Validity: 100 * day,
	}}
	for _, mod := range mods {
		mod(&d)
	}
	return d
}

func TestARenewalTime(t *testing.T) {
	pair, err := pki.SelfSign(start, desiredCA().Request)
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
		if got := desiredCA(tc.mod).RenewalTime(pair.Cert); !got.Equal(whole.Add(tc.want)) {
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
		"other dates":           {12, func(d *plan.DesiredCA) { d.Request.Validity *= 2 }, true},
		"another name":          {1, func(d *plan.DesiredCA) { d.Request.Subject.CommonName = "other" }, false},
		"another organization":  {2, func(d *plan.DesiredCA) { d.Request.Subject.Organizations = nil }, false},
		"another key":           {1, func(d *plan.DesiredCA) { d.Request.Key = pki.KeySpec{Algorithm: pki.ECDSA, Size: 384} }, false},
	} {
		pair, err := pki.SelfSign(start, desiredCA().GenerationRequest(tc.number))
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
		r := d.GenerationRequest(number)
		if r.Subject.CommonName != want {
			t.Errorf("generation %d is named %q, want %q", number, r.Subject.CommonName, want)
		}
		r.Subject.CommonName = "kubernetes"
		if r.Hash() != d.Request.Hash() {
			t.Errorf("generation %d differs in more than its name", number)
		}
	}
	if d.Request.Subject.CommonName != "kubernetes" {
		t.Error("GenerationRequest changes its receiver")
	}
	certs := map[string]*x509.Certificate{}
	for _, number := range []int32{1, 2} {
		pair, err := pki.SelfSign(start, d.GenerationRequest(number))
		if err != nil {
			t.Fatal(err)
		}
		certs[string(pair.Cert.RawSubject)] = pair.Cert
	}
	if len(certs) != 2 {
		t.Error("two generations share a subject")
	}
}

// By its name an attempt that was cut short is found again: were the name another after an update of the
// operator, a CA's key would be given up and made once more.
func TestGenerationSecretNamesNeverChange(t *testing.T) {
	hash := "v1:2320c2712a54b669bb6401047190b052"
	for want, got := range map[string]string{
		"kubernetes-g1-1d85cccd":    plan.GenerationSecretName("kubernetes", 1, hash),
		"kubernetes-g2-aea4a280":    plan.GenerationSecretName("kubernetes", 2, hash),
		"kubernetes-g1-4fc65cca":    plan.GenerationSecretName("kubernetes", 1, "v1:other"),
		"other-g1-c2d90da3":         plan.GenerationSecretName("other", 1, hash),
		"kubernetes-g1-g1-73ebf491": plan.GenerationSecretName("kubernetes-g1", 1, hash),
	} {
		if got != want {
			t.Errorf("the Secret is named %q instead of %q", got, want)
		}
	}
}
