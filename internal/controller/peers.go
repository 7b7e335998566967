package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// namespaceState is everything in a namespace that a CA's gates ask.
type namespaceState struct {
	servers     []v1alpha1.APIServerCertificate
	credentials []v1alpha1.NodeCredential
	secrets     map[string]*corev1.Secret
}

// readNamespace reads it from the cache or from the API server itself.
func readNamespace(ctx context.Context, from client.Reader, namespace string) (namespaceState, error) {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	var secrets corev1.SecretList
	for _, list := range []client.ObjectList{&servers, &credentials} {
		if err := from.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return namespaceState{}, fmt.Errorf("list the consumers: %w", err)
		}
	}
	err := from.List(ctx, &secrets, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	if err != nil {
		return namespaceState{}, fmt.Errorf("list the consumers' Secrets: %w", err)
	}
	n := namespaceState{servers: servers.Items, credentials: credentials.Items, secrets: map[string]*corev1.Secret{}}
	for i := range secrets.Items {
		n.secrets[secrets.Items[i].Name] = &secrets.Items[i]
	}
	return n, nil
}

// peers are the consumers of a CA, and what they have acknowledged.
func (n namespaceState) peers(ca string, now time.Time) []plan.Peer {
	var out []plan.Peer
	servedBy := map[string]string{} // API server → the CA that signs for it
	for i := range n.servers {
		c := &n.servers[i]
		servedBy[c.Name] = c.Spec.CARef.Name
		p := plan.Peer{Name: ownerText(kindAPIServerCertificate, c.Name)}
		s := n.owned(c.TLSSecretName(), c, kindAPIServerCertificate)
		p.HasLeaf = c.Spec.CARef.Name == ca
		p.Trusts = p.HasLeaf || slices.Contains(c.ClientCANames(), ca)
		p.Trust = acknowledgedTrust(s, ca, c.Spec.Delivery, now)
		p.Leaf, p.Issued = acknowledgedLeaf(s, c.Spec.Delivery, now)
		if p.Trusts {
			out = append(out, p)
		}
	}
	for i := range n.credentials {
		c := &n.credentials[i]
		p := plan.Peer{Name: ownerText(kindNodeCredential, c.Name), HasLeaf: c.Spec.CARef.Name == ca}
		tls := n.owned(c.TLSSecretName(), c, kindNodeCredential)
		var held []int64
		if p.HasLeaf {
			p.Leaf, p.Issued = acknowledgedLeaf(tls, c.Spec.Delivery, now)
			held = append(held, acknowledgedTrust(tls, ca, c.Spec.Delivery, now))
		}
		if c.Spec.Kubeconfig != nil {
			kube := n.owned(c.KubeconfigSecretName(), c, kindNodeCredential)
			if p.HasLeaf { // the kubeconfig holds the certificate too, and may lag behind
				inUse, issued := acknowledgedLeaf(kube, c.Spec.Delivery, now)
				p.Leaf, p.Issued = min(p.Leaf, inUse), min(p.Issued, issued)
			}
			if c.Spec.APIServerRef != nil && servedBy[c.Spec.APIServerRef.Name] == ca {
				held = append(held, acknowledgedTrust(kube, ca, c.Spec.Delivery, now))
			}
		}
		if len(held) > 0 {
			p.Trusts, p.Trust = true, slices.Min(held)
			out = append(out, p)
		}
	}
	return out
}

// owned is a Secret if it was made for an object.
func (n namespaceState) owned(name string, owner client.Object, kind string) *corev1.Secret {
	if s := n.secrets[name]; s != nil && ownedBy(s, owner, kind) {
		return s
	}
	return nil
}
