package cli

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki/keyring"
)

// publicKeys is the digest of the file with the public service account keys on a host, where an API server is to use those of a ServiceAccountKey; "" for
// any other object.
func (f acknowledgeFlags) publicKeys(ctx context.Context, api client.Reader, of client.Object) (string, error) {
	server, ok := of.(*v1alpha1.APIServerCertificate)
	switch {
	case ok && server.ServiceAccountKeyName() != "" && f.saPub == "":
		return "", fmt.Errorf("name the file of --service-account-key-file on the host, with --sa-pub: the API server uses ServiceAccountKey %q",
			server.ServiceAccountKeyName())
	case f.saPub == "":
		return "", nil
	case !ok || server.ServiceAccountKeyName() == "":
		return "", fmt.Errorf("--sa-pub is for an APIServerCertificate with serviceAccountKeyRef: leave it out")
	}
	text, err := readFile(f.saPub)
	if err == nil {
		_, err = keyring.ParsePublic(text)
	}
	if err != nil {
		return "", fmt.Errorf("--sa-pub: %s: %w", f.saPub, err)
	}
	var key v1alpha1.ServiceAccountKey
	name := server.ServiceAccountKeyName()
	err = api.Get(ctx, client.ObjectKey{Namespace: server.Namespace, Name: name}, &key)
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("there is no ServiceAccountKey %q", name)
	}
	if err != nil {
		return "", fmt.Errorf("read ServiceAccountKey %q: %w", name, err)
	}
	digest := delivery.DigestOf(text)
	if digest != key.Status.PublicKeysSHA256 {
		return "", &exit{exitUnwell, fmt.Sprintf("nothing was written: %s is not what Secret %q holds as sa.pub now (SHA-256 %s): bring both of its files "+
			"to the host, "+
			"and restart kube-apiserver and kube-controller-manager", f.saPub, key.KeySecretName(), key.Status.PublicKeysSHA256)}
	}
	return digest, nil
}
