package controller_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// withKey lets an API server use the service account key k8s-sa.
func withKey(c *v1alpha1.APIServerCertificate) {
	c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "k8s-sa"}
}

// accountKeys is what the authority namespace says of the key k8s-sa.
func (w *env) accountKeys() *authority.AccountKeys {
	w.t.Helper()
	k, err := w.store().LiveAccountKeys(w.t.Context(), w.ns, "k8s-sa")
	if err != nil || k == nil {
		w.t.Fatalf("the service account keys: %v, %v", k, err)
	}
	return k
}

// accountKey is the ServiceAccountKey k8s-sa.
func (w *env) accountKey() *v1alpha1.ServiceAccountKey {
	w.t.Helper()
	var k v1alpha1.ServiceAccountKey
	w.get("k8s-sa", &k)
	return &k
}

// keysPublished waits until the Secret and the ConfigMap hold what the authority namespace says, and returns that.
func (w *env) keysPublished() *authority.AccountKeys {
	w.t.Helper()
	var k *authority.AccountKeys
	w.eventually("the service account keys are published", func() error {
		k = w.accountKeys()
		key, err := k.Active()
		if err != nil {
			return err
		}
		private, err := key.Reveal()
		if err != nil {
			return err
		}
		public, err := k.PublicPEM()
		if err != nil {
			return err
		}
		set, err := k.JWKS()
		if err != nil {
			return err
		}
		if w.missing("k8s-sa", &corev1.Secret{}) || w.missing("k8s-sa-jwks", &corev1.ConfigMap{}) {
			return errors.New("they are not there")
		}
		var cm corev1.ConfigMap
		w.get("k8s-sa-jwks", &cm)
		s := w.secret("k8s-sa")
		return errors.Join(differs(s.Data["sa.key"], private), differs(s.Data["sa.pub"], public), differs([]byte(cm.Data["jwks.json"]), set))
	})
	return k
}

// TestServiceAccountKey is made once, and what somebody does to what is published of it is repaired.
func TestServiceAccountKey(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master", withKey))
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountKeyNotFound)
	w.create(newAccountKey("k8s-sa"))
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	ready := w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if want := `the certificate is in Secret "k8s-master-tls", the service account keys in Secret "k8s-sa"`; ready.Message != want {
		t.Errorf("the message is %q", ready.Message)
	}
	made := w.keysPublished()
	s := w.secret("k8s-sa")
	key, err := pki.ParsePrivateKey(s.Data["sa.key"])
	if err != nil || pki.SamePublicKey(key.Public(), w.pair("k8s-master-tls").Cert.PublicKey) {
		t.Errorf("sa.key is none, or that of the certificate: %v", err)
	}
	if len(s.OwnerReferences) > 0 || s.Type != corev1.SecretTypeOpaque {
		t.Errorf("the Secret is of type %s, and goes with %v", s.Type, s.OwnerReferences)
	}
	w.settled()
	status := w.accountKey().Status
	if len(status.Keys) != 1 || status.Keys[0].State != "Active" || status.PublicKeysSHA256 != delivery.DigestOf(s.Data["sa.pub"]) ||
		status.SecretName != "k8s-sa" || status.JWKSConfigMapName != "k8s-sa-jwks" || *status.Required != 1 || status.Authority.NamespaceUID == "" {
		t.Errorf("the status is %+v", status)
	}
	for name, spoil := range map[string]func(*corev1.Secret){
		"another sa.pub": func(s *corev1.Secret) { s.Data["sa.pub"] = append(s.Data["sa.pub"], s.Data["sa.pub"]...) },
		"another sa.key": func(s *corev1.Secret) { s.Data["sa.key"] = []byte("x") },
		"no sa.key":      func(s *corev1.Secret) { delete(s.Data, "sa.key") },
	} {
		t.Log(name)
		edit(w, "k8s-sa", &corev1.Secret{}, spoil)
		w.keysPublished()
		w.settled()
	}
	edit(w, "k8s-sa-jwks", &corev1.ConfigMap{}, func(cm *corev1.ConfigMap) { cm.Data["jwks.json"] = "{}" })
	w.keysPublished()
	w.delete(w.secret("k8s-sa"))
	w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-sa-jwks"}})
	if now := w.keysPublished(); now.Ledger.Keys[0] != made.Ledger.Keys[0] || len(now.Ledger.Keys) != 1 {
		t.Errorf("the keys are %+v, and were %+v", now.Ledger.Keys, made.Ledger.Keys)
	}
	w.settled()
	before, version := w.versions(), w.accountKeys().Version
	w.restartAt(w.clock.Now())
	w.settled()
	if now := w.versions(); !maps.Equal(now, before) || w.accountKeys().Version != version {
		t.Errorf("a second visit writes: %v instead of %v", now, before)
	}
}

// TestServiceAccountKeyComesBack: `kubectl replace --force` deletes an object and creates it anew, and an object that is pruned comes back by another
// commit: no token ends.
func TestServiceAccountKeyComesBack(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	server := func() *v1alpha1.APIServerCertificate {
		return newServer("k8s-master", withKey, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent })
	}
	w.create(newCA("k8s"), newAccountKey("k8s-sa"), server())
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	made := w.keysPublished()
	w.settled()
	w.delete(w.accountKey())
	w.delete(&v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-master"}})
	w.settled()
	if w.secret("k8s-sa").Data["sa.key"] == nil {
		t.Error("the Secret has gone with the object")
	}
	w.create(newAccountKey("k8s-sa", func(k *v1alpha1.ServiceAccountKey) { k.Spec.SecretName = "other" }), server())
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	edit(w, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.SecretName = "" })
	w.delete(w.secret("k8s-sa"))
	now := w.keysPublished()
	if !slices.Equal(now.Ledger.Keys, made.Ledger.Keys) || now.UID != w.accountKey().UID || now.UID == made.UID {
		t.Errorf("the keys are %+v, and were %+v", now.Ledger, made.Ledger)
	}
	if differs(w.secret("other").Data["sa.key"], w.secret("k8s-sa").Data["sa.key"]) != nil {
		t.Error("the Secret of another name has got another key")
	}
}

// TestServiceAccountKeyIsNotMadeTwice: where the authority namespace has lost keys, no others are made in their place; and of another namespace nobody
// inherits them.
func TestServiceAccountKeyIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newAccountKey("k8s-sa"))
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	w.settled()
	var kept corev1.Secret
	name := authority.AccountKeysName(w.ns, "k8s-sa")
	if err := w.api.Get(t.Context(), keyOf(w.authority, name), &kept); err != nil {
		t.Fatal(err)
	}
	w.delete(&kept)
	w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
	w.delete(w.accountKey())
	w.settled()
	for what, next := range map[string]func(){
		"the ConfigMap": func() {},
		"the Secret": func() {
			w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-sa-jwks"}})
		},
	} {
		t.Log(what)
		next()
		w.create(newAccountKey("k8s-sa"))
		w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
		w.delete(w.accountKey())
		w.settled()
	}
	var s authority.AccountKeys
	keys, err := authority.DecodeAccountKeys(&kept)
	if err != nil {
		t.Fatal(err)
	}
	s = *keys.Next()
	s.NamespaceUID = "another"
	if _, err := w.store().CreateAccountKeys(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	w.create(newAccountKey("k8s-sa"))
	w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityRetained)
	if got := w.accountKeys(); got.NamespaceUID != "another" {
		t.Errorf("it is bound to %s", got.NamespaceUID)
	}
}

// TestOlderServiceAccountKeys restores the authority namespace of before a rotation: what was published since is not taken back.
func TestOlderServiceAccountKeys(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newAccountKey("k8s-sa"), newServer("k8s-master", withKey))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.settled()
	var kept corev1.Secret
	name := keyOf(w.authority, authority.AccountKeysName(w.ns, "k8s-sa"))
	if err := w.api.Get(t.Context(), name, &kept); err != nil {
		t.Fatal(err)
	}
	w.later(20 * time.Minute)
	edit(w, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.Rotation.Trigger = "one" })
	w.keyPhase(v1alpha1.KeyDistributingTrust)
	w.settled()
	w.later(20 * time.Minute)
	w.keyPhase(v1alpha1.KeySwitchingSigner)
	newer := w.keysPublished()
	w.settled()
	w.stop()
	w.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}})
	kept.ResourceVersion, kept.UID = "", ""
	if err := w.api.Create(t.Context(), &kept); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonLedgerOutdated)
	w.settled()
	if public, err := newer.PublicPEM(); err != nil || differs(w.secret("k8s-sa").Data["sa.pub"], public) != nil {
		t.Errorf("an older publication is back: %v", err)
	}
}

// keyPhase waits until the rotation of the key is in a phase; "": there is none.
func (w *env) keyPhase(want v1alpha1.KeyPhase) *v1alpha1.ServiceAccountKey {
	w.t.Helper()
	var k *v1alpha1.ServiceAccountKey
	w.eventually(fmt.Sprintf("phase %q", want), func() error {
		if k = w.accountKey(); k.Status.Rotation.Phase != want || k.Status.ObservedGeneration != k.Generation {
			return fmt.Errorf("the phase is %q: %+v", k.Status.Rotation.Phase, k.Status)
		}
		return nil
	})
	return k
}

// keyStates are the states of the keys, by number.
func keyStates(l keyring.Ledger) map[int32]keyring.State {
	out := map[int32]keyring.State{}
	for _, k := range l.Keys {
		out[k.Number] = k.State
	}
	return out
}
