package owned

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestWrites follows a Secret that the operator writes, as a cache that lags has it.
func TestWrites(t *testing.T) {
	at := func(version string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "tls", ResourceVersion: version}}
	}
	name := client.ObjectKeyFromObject(at(""))
	var w Writes
	if w.Newer(SecretKind, at("5")) || w.coming(name) {
		t.Error("something was written that never was")
	}
	w.Created(SecretKind, at("10"))
	if !w.coming(name) || w.Newer(SecretKind, at("10")) {
		t.Error("it is on its way, and then it is there")
	}
	if w.coming(name) {
		t.Error("it is waited for although it was there")
	}
	w.Updated(SecretKind, at("100"))
	for _, version := range []string{"10", "99"} {
		if !w.Newer(SecretKind, at(version)) {
			t.Errorf("version %s is not seen to be older", version)
		}
	}
	if w.coming(name) {
		t.Error("one that was there, and is gone, is waited for")
	}
	w.Updated(SecretKind, at("100"))
	if w.Newer(SecretKind, at("101")) || len(w.of) > 0 {
		t.Error("a later state is seen to be older, or is remembered")
	}
	w.Created(SecretKind, at("110"))
	for range maxAbsent {
		if !w.coming(name) {
			t.Error("it is not waited for")
		}
	}
	if w.coming(name) || len(w.of) > 0 {
		t.Error("it is waited for without an end")
	}
	w.Updated(SecretKind, at("120"))
	if w.Forget(SecretKind, name); w.Newer(SecretKind, at("1")) {
		t.Error("it is remembered")
	}
}

// TestEcho knows the event of what was written, once, unless a visit found the cache behind it.
func TestEcho(t *testing.T) {
	at := func(version string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "tls", ResourceVersion: version}}
	}
	name := client.ObjectKeyFromObject(at(""))
	var w Writes
	w.Created(SecretKind, at("10"))
	if w.Echo(SecretKind, name, "9") || w.Echo(LeaseKind, name, "10") || !w.Echo(SecretKind, name, "10") || len(w.of) > 0 {
		t.Error("it is taken for another, or remembered")
	}
	w.Updated(SecretKind, at("11"))
	if !w.Newer(SecretKind, at("10")) || w.Echo(SecretKind, name, "11") || len(w.of) > 0 {
		t.Error("a visit that waits for it does not come")
	}
}
