package authority_test

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
)

// TestASealFitsOnlyItsTexts: neither others, nor the same ones cut elsewhere, nor under another key.
func TestASealFitsOnlyItsTexts(t *testing.T) {
	s, _ := newStore()
	mine, err := s.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := newStore()
	others, err := o.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seal := mine.Of("Secret", "prod", "a-tls", "{}")
	for name, texts := range map[string][]string{
		"another name": {"Secret", "prod", "b-tls", "{}"}, "another order": {"Secret", "a-tls", "prod", "{}"},
		"one less": {"Secret", "prod", "a-tls"}, "one more": {"Secret", "prod", "a-tls", "{}", ""}, "none": nil,
		"cut elsewhere": {"Secret", "prod", "a-tl", "s{}"}, "together": {"Secretproda-tls{}"},
		"lengths within": {"Secret4:prod", "a-tls", "{}"},
	} {
		if mine.Fits(seal, texts...) {
			t.Errorf("it fits %s", name)
		}
	}
	if !mine.Fits(seal, "Secret", "prod", "a-tls", "{}") || others.Fits(seal, "Secret", "prod", "a-tls", "{}") {
		t.Error("it does not fit its own texts, or fits under another key")
	}
	for _, forged := range []string{"", seal[:10], seal + "0", authority.Seal{}.Of("Secret", "prod", "a-tls", "{}")} {
		if mine.Fits(forged, "Secret", "prod", "a-tls", "{}") || (authority.Seal{}).Fits(forged, "Secret", "prod", "a-tls", "{}") {
			t.Errorf("%q fits", forged)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.String()).Draw(t, "a"), rapid.SliceOf(rapid.String()).Draw(t, "b")
		same := len(a) == len(b)
		for i := range a {
			same = same && a[i] == b[i]
		}
		if mine.Fits(mine.Of(a...), b...) != same {
			t.Fatalf("the seal of %q fits %q: %v", a, b, !same)
		}
	})
}

// TestTheKeyOfSealsIsMadeOnce, and is the same for every manager.
func TestTheKeyOfSealsIsMadeOnce(t *testing.T) {
	s, c := newStore()
	first, err := s.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second, err := authority.New(home, c, nil).Seal(ctx)
	if err != nil || !second.Fits(first.Of("x"), "x") {
		t.Errorf("another manager has another key, %v", err)
	}
	var stored corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.SealSecretName}, &stored); err != nil || stored.Type != authority.SealSecretType || len(stored.Data["key"]) != 32 {
		t.Errorf("%s, %d bytes, %v", stored.Type, len(stored.Data["key"]), err)
	}
}

// TestADamagedKeyOfSealsIsNotReplaced: everything that was sealed would be a stranger's.
func TestADamagedKeyOfSealsIsNotReplaced(t *testing.T) {
	for name, secret := range map[string]corev1.Secret{
		"short":        {Type: authority.SealSecretType, Data: map[string][]byte{"key": make([]byte, 31)}},
		"none":         {Type: authority.SealSecretType},
		"another type": {Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"key": make([]byte, 32)}},
	} {
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: home, Name: authority.SealSecretName}
		s, _ := newStore(&secret)
		if seal, err := s.Seal(ctx); err == nil || seal.Fits(seal.Of("x"), "x") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRecall makes no key, and reads it again where that is asked for: it may have been made, or restored, since.
func TestRecall(t *testing.T) {
	s, c := newStore()
	if seal, ok := s.Recall(ctx, false); !ok || seal.Fits(seal.Of("x"), "x") {
		t.Errorf("what is not there fits: %t", ok)
	}
	s = authority.New(home, c, nil)
	was, err := s.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var stored corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.SealSecretName}, &stored); err != nil {
		t.Fatal(err)
	}
	stored.Data["key"] = bytes.Repeat([]byte("k"), 32)
	if err := c.Update(ctx, &stored); err != nil {
		t.Fatal(err)
	}
	if seal, ok := s.Recall(ctx, false); !ok || !seal.Fits(was.Of("x"), "x") {
		t.Error("what is known is read again")
	}
	if seal, ok := s.Recall(ctx, true); !ok || seal.Fits(was.Of("x"), "x") || !seal.Fits(seal.Of("x"), "x") {
		t.Error("what was restored is not read")
	}
	stored.Data = nil
	if err := c.Update(ctx, &stored); err != nil {
		t.Fatal(err)
	}
	s = authority.New(home, c, nil)
	for range 2 {
		if _, ok := s.Recall(ctx, false); ok {
			t.Error("what cannot be read is known")
		}
	}
}
