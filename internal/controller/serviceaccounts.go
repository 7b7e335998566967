package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// serviceAccountKey is the kind of key that signs service account tokens. RSA, because many readers
// of the tokens know only RS256; kube-apiserver refuses Ed25519.
var serviceAccountKey = pki.KeySpec{Algorithm: pki.RSA, Size: 2048}

// reconcileServiceAccountKeys makes the key pair once, and never writes it again: every token there is would stop working. It
// returns the public half.
// The Secret bears no owner reference, and stays when the object goes. One that somebody else made is used, as it is, only where
// the spec says so: whoever may create Secrets could plant one.
func (r *apiServerCertificates) reconcileServiceAccountKeys(
	ctx context.Context, l leaf.Request, c *v1alpha1.APIServerCertificate, again bool,
) (public []byte, err error) {
	name, given := c.ServiceAccountSecretName(), c.Spec.ServiceAccountKeys.Source == v1alpha1.ServiceAccountKeysExisting
	existing, err := r.secrets.Live(ctx, c.Namespace, name)
	if err != nil {
		return nil, err
	}
	r.leaves.AccountKeyStored(l, existing)
	switch {
	case existing == nil && given:
		return nil, stall.Because(v1alpha1.ReasonServiceAccountKeyInvalid,
			"Secret %q, which is to hold the service account keys that exist, is not there: create it with the keys sa.key and sa.pub", name)
	case existing == nil:
		if err := awaitKeys(l.Owner, name); err != nil {
			return nil, err
		}
		return r.makeServiceAccountKeys(ctx, l, name, again)
	case !given:
		made, ours := l.Keeper.ClaimOf(existing)
		if ours && c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent && made.Contents != serviceAccountsDigest(existing.Data) {
			return nil, stall.Because(v1alpha1.ReasonServiceAccountKeyInvalid, "Secret %q does not hold the service account keys that the operator made: no "+
				"agent is told to install others. Restore it from a backup or, if its keys are right, set spec.serviceAccountKeys.source to 'Existing'", name)
		}
		if !ours {
			return nil, stall.Because(v1alpha1.ReasonSecretConflict, "Secret %q exists, and the operator did not make it: delete it, choose another name or, "+
				"if its service account keys are to be used, set spec.serviceAccountKeys.source to 'Existing'", name)
		}
	}
	key, err := pki.ParsePrivateKey(existing.Data[saPrivateKey])
	if err == nil && len(existing.Data[saPublicKey]) == 0 {
		err = fmt.Errorf("%s is missing", saPublicKey)
	}
	if err != nil {
		return nil, stall.Because(v1alpha1.ReasonServiceAccountKeyInvalid,
			"Secret %q holds no readable %s and %s (%v): restore it from a backup, "+
				"or delete the Secret to have new keys made, which ends every token signed so far", name, saPrivateKey, saPublicKey, err)
	}
	if spec := pki.SpecOf(key.Public()); spec.Algorithm == pki.Ed25519 {
		return nil, stall.Because(v1alpha1.ReasonServiceAccountKeyInvalid, "Secret %q holds an Ed25519 key, which kube-apiserver refuses: "+
			"use RSA or ECDSA", name)
	}
	return existing.Data[saPublicKey], nil
}

// serviceAccountsDigest tells one pair of service account keys from another.
func serviceAccountsDigest(data map[string][]byte) string {
	return delivery.DigestOf(fmt.Appendf(nil, "%d:%s%s", len(data[saPrivateKey]), data[saPrivateKey], data[saPublicKey]))
}

func (r *apiServerCertificates) makeServiceAccountKeys(ctx context.Context, l leaf.Request, name string, again bool) ([]byte, error) {
	key, err := r.leaves.AccountKey(l, name, func() (pki.PrivateKey, error) { return r.keys.of(l.Owner, forServiceAccounts)(serviceAccountKey) })
	if err != nil {
		return nil, err
	}
	private, err := key.Reveal()
	if err != nil {
		return nil, err
	}
	public, err := key.PublicPEM()
	if err != nil {
		return nil, err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.Owner.GetNamespace(), Name: name}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{saPrivateKey: private, saPublicKey: public},
	}
	if err := owned.Create(ctx, l.Keeper, l.Owner, s, owned.Marks{Claim: consumers.Claim{Contents: serviceAccountsDigest(s.Data)}}); err != nil {
		return nil, err
	}
	r.leaves.AccountKeyStored(l, s)
	kind := corev1.EventTypeNormal
	if again { // there may have been others
		kind = corev1.EventTypeWarning
	}
	r.events.Eventf(l.Owner, nil, kind, v1alpha1.ReasonServiceAccountKeysGenerated, "Generate",
		"Generated service account keys into Secret %q: tokens signed by earlier keys, if there were any, end when the API server restarts", name)
	return public, nil
}

// awaitKeys keeps a restored APIServerCertificate from getting other service account keys.
func awaitKeys(o client.Object, secret string) error {
	if !desired.Restored(o) {
		return nil
	}
	return stall.Because(v1alpha1.ReasonRestoreIncomplete,
		"this object was restored, and Secret %q, which is to hold its service account keys, is not there: restore it too. "+
			"If they are asked for the first time, or to have new keys made, which ends every token signed so far, remove its label %s and its annotation %s",
		secret, v1alpha1.VeleroRestoreLabel, v1alpha1.RestoredAnnotation)
}

// awaitsRestore says whether an error is that something which was made for a restored object is not there.
func awaitsRestore(err error) bool {
	st, ok := stall.Of(err)
	return ok && st.Reason == v1alpha1.ReasonRestoreIncomplete
}
