package controller

import (
	"errors"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/keypool"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
)

// TestKeysOfWhatIsGone asks for RSA keys of an object that is deleted, and of one that asks for another key before they are made:
// they are not made.
func TestKeysOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		b := base{client: fake.NewClientBuilder().WithScheme(Scheme()).Build(), wrote: &owned.Writes{}, announced: &announced{}, leaves: &leaf.Maker{}, keys: keys{keypool.New(func(pki.KeySpec) (pki.PrivateKey, error) {
			made++
			return pki.PrivateKey{}, nil
		})}}
		gone := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "gone", UID: "1"}}
		edited := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "edited", UID: "2"}}
		for _, ask := range []pki.KeySource{b.keys.of(gone), b.keys.of(edited)} {
			if _, err := ask(pki.KeySpec{Algorithm: pki.RSA, Size: 4096}); !isPending(err) {
				t.Error(err)
			}
		}
		if found, err := b.get(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(gone)}, &v1alpha1.NodeCredential{}); found || err != nil {
			t.Error(found, err)
		}
		if key, err := b.keys.of(edited)(pki.KeySpec{Algorithm: pki.Ed25519}); err != nil || key.Signer() == nil {
			t.Error(err)
		}
		go func() { _ = b.keys.Start(t.Context()) }()
		if synctest.Wait(); made != 0 {
			t.Errorf("%d keys were made", made)
		}
	})
}

// TestAwaitKey says of an object that waits for its key what it waits for, whether it has a certificate or not.
func TestAwaitKey(t *testing.T) {
	pending := &keypool.PendingError{Spec: pki.KeySpec{Algorithm: pki.RSA, Size: 4096}}
	for _, unusable := range []error{nil, errors.New("there is no certificate")} {
		r := report{err: pending, unusable: unusable, issuer: &leaf.Issuer{Reason: v1alpha1.ReasonIssuerAvailable}}
		r.awaitKey()
		got := map[string]string{}
		for _, c := range conditions(r) {
			got[c.Type] = string(c.Status) + " " + c.Reason
		}
		ready := "True Issued"
		if unusable != nil {
			ready = "False KeyPending"
		}
		if got[v1alpha1.ReadyCondition] != ready || got[v1alpha1.ReconcilingCondition] != "True KeyPending" {
			t.Errorf("conditions are %v", got)
		}
	}
}
