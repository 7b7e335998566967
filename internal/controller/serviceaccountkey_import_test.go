package controller_test

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// pairOf makes a service account key as somebody else would.
func pairOf(t *testing.T, spec pki.KeySpec) (private, public []byte) {
	t.Helper()
	key, err := pki.GenerateKey(spec)
	if err == nil {
		private, err = key.Reveal()
	}
	if err == nil {
		public, err = key.PublicPEM()
	}
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// importingKeys lets a key be imported from Secret 'kubeadm', whose sa.pub has a digest.
func importingKeys(public []byte) func(*v1alpha1.ServiceAccountKey) {
	return func(k *v1alpha1.ServiceAccountKey) {
		k.Spec.Source = &v1alpha1.ServiceAccountKeySource{Import: &v1alpha1.ServiceAccountKeyImport{
			SecretRef: v1alpha1.SecretReference{Name: "kubeadm"}, PublicKeysSHA256: delivery.DigestOf(public),
		}}
	}
}

// TestServiceAccountKeyImport takes every public key over that is in sa.pub: the tokens of each stay valid. Nothing else is taken than what the spec
// names, whoever writes the Secret, and nothing is read of it later.
func TestServiceAccountKeyImport(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	rsa, p256 := pki.KeySpec{Algorithm: pki.RSA, Size: 2048}, pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
	_, oldest := pairOf(t, p256)
	private, public := pairOf(t, rsa)
	_, older := pairOf(t, rsa)
	evil, evilPublic := pairOf(t, p256)
	all := bytes.Join([][]byte{oldest, public, older}, nil)
	refused := func(reason, text string) {
		t.Helper()
		w.eventually("it is refused: "+text, func() error {
			c := w.condition("k8s-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, reason)
			if !strings.Contains(c.Message, text) {
				return differs([]byte(c.Message), []byte(text))
			}
			return nil
		})
		if !w.missing("k8s-sa", &corev1.Secret{}) {
			t.Error("keys are published")
		}
	}
	tries := 0
	put := func(private, public []byte) {
		t.Helper()
		var s corev1.Secret
		if data := map[string][]byte{"sa.key": private, "sa.pub": public}; w.missing("kubeadm", &s) {
			w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kubeadm"}, Data: data})
		} else {
			edit(w, "kubeadm", &s, func(s *corev1.Secret) { s.Data = data })
		}
		tries++
		w.touch("k8s-sa", &v1alpha1.ServiceAccountKey{}, tries) // its Secret is not in the cache
	}
	w.create(newAccountKey("k8s-sa", importingKeys(all)))
	refused(v1alpha1.ReasonImportInvalid, "does not exist")
	put(evil, bytes.Join([][]byte{all, evilPublic}, nil))
	refused(v1alpha1.ReasonImportInvalid, "holds another sa.pub than spec.source.import.publicKeysSHA256 names")
	put(evil, all)
	refused(v1alpha1.ReasonImportInvalid, "sa.pub does not hold the public half of sa.key")
	put(private, all)
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	k := w.keysPublished()
	if len(k.Ledger.Publication()) != 3 || !bytes.Equal(w.secret("k8s-sa").Data["sa.pub"], bytes.Join([][]byte{public, oldest, older}, nil)) {
		t.Errorf("taken over is %+v: %s", k.Ledger, w.secret("k8s-sa").Data["sa.pub"])
	}
	if signs, err := pki.ParsePrivateKey(w.secret("k8s-sa").Data["sa.key"]); err != nil || differs(publicPEM(t, signs), public) != nil {
		t.Errorf("another key signs: %v", err)
	}
	if active, _ := k.Ledger.Active(); active.Number != 3 || !active.Imported || keyStates(k.Ledger)[1] != keyring.Retiring {
		t.Errorf("the keys are %+v", k.Ledger.Keys)
	}
	put(evil, evilPublic)
	w.settled()
	if now := w.keysPublished(); now.Version != k.Version {
		t.Error("what the Secret holds later changes something")
	}
	again := newAccountKey("another", importingKeys(public))
	again.Spec.Source.Import.SecretRef.Name = "copied"
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "copied"}, Data: map[string][]byte{"sa.key": private, "sa.pub": public}}, again)
	inUse := w.condition("another", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonKeyInUse)
	if !strings.Contains(inUse.Message, "ServiceAccountKey/k8s-sa has one of these keys") {
		t.Errorf("the message is %q", inUse.Message)
	}
}

func publicPEM(t *testing.T, key pki.PrivateKey) []byte {
	t.Helper()
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
