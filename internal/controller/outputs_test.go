package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
)

// holdsValue waits until a Secret has a value.
func (w *env) holdsValue(secret, key string, want []byte) {
	w.t.Helper()
	w.eventually(secret+" holds "+key, func() error {
		var s corev1.Secret
		if w.missing(secret, &s) {
			return errors.New("it is not there")
		}
		if got := w.secret(secret).Data[key]; !bytes.Equal(got, want) {
			return fmt.Errorf("it holds another value, of %d bytes", len(got))
		}
		return nil
	})
}

// TestOutputsOfACA follows the copies of the active key in other programs' forms: made where nobody else has a Secret, repaired, and emptied once they are
// not asked for.
func TestOutputsOfACA(t *testing.T) {
	t.Parallel()
	w := standard(t)
	outputs := func(of ...v1alpha1.CAOutput) {
		t.Helper()
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName, c.Spec.Outputs = "copy", of })
	}
	outputs(v1alpha1.CAOutput{Format: "CAPI", ClusterName: "prod"}, v1alpha1.CAOutput{Format: "Kamaji", ClusterName: "tenant"})
	w.eventually("the copy is there", func() error {
		if w.missing("copy", &corev1.Secret{}) || len(w.secret("copy").Data["tls.key"]) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	key := w.secret("copy").Data["tls.key"]
	w.holdsValue("prod-ca", "tls.key", key)
	w.holdsValue("tenant-ca", "ca.key", key)
	w.ready("k8s", &v1alpha1.ClusterCA{})

	theirs := metav1.OwnerReference{APIVersion: "kamaji.clastix.io/v1alpha1", Kind: "TenantControlPlane", Name: "tenant", UID: "t", Controller: new(true)}
	edit(w, "tenant-ca", &corev1.Secret{}, func(s *corev1.Secret) {
		s.OwnerReferences, s.Data["ca.key"] = []metav1.OwnerReference{theirs}, []byte("x")
	})
	edit(w, "prod-ca", &corev1.Secret{}, func(s *corev1.Secret) { delete(s.Data, "tls.key"); s.Labels["cluster.x-k8s.io/cluster-name"] = "other" })
	w.holdsValue("tenant-ca", "ca.key", key)
	w.holdsValue("prod-ca", "tls.key", key)
	w.settled()
	if refs := w.secret("tenant-ca").OwnerReferences; len(refs) != 1 || refs[0].UID != theirs.UID {
		t.Errorf("Kamaji's owner reference: %+v", refs)
	}
	if s := w.secret("prod-ca"); s.Labels["cluster.x-k8s.io/cluster-name"] != "prod" || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Kind != "ClusterCA" {
		t.Errorf("%v, %+v", s.Labels, s.OwnerReferences)
	}

	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "taken-etcd"}, Type: "cluster.x-k8s.io/secret"})
	outputs(v1alpha1.CAOutput{Format: "CAPI", ClusterName: "taken", Purpose: "Etcd"})
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.settled()
	for _, name := range []string{"prod-ca", "tenant-ca", "taken-etcd"} {
		if s := w.secret(name); len(s.Data) > 0 {
			t.Errorf("Secret %s holds %d values", name, len(s.Data))
		}
	}
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "taken-etcd" })
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec)
	outputs()
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestOutputsInARotation: what is for other programs holds nothing of the old CA afterwards, and the rotation has not waited for it.
func TestOutputsInARotation(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(given.Kubelet("admin", func(c *v1alpha1.NodeCredential) {
		c.Spec.Role, c.Spec.HostName, c.Spec.Delivery = "Admin", "k8s-master", given.Soon(v1alpha1.DeliveryMounted)
		c.Spec.Outputs = []v1alpha1.CredentialOutput{
			{Format: "CAPI", ClusterName: "prod"}, {Format: "Flux", ClusterName: "prod"}, {Format: "ArgoCDCluster", ClusterName: "prod"},
		}
	}), given.Kubelet("etcd", func(c *v1alpha1.NodeCredential) {
		c.Spec.Role, c.Spec.Kubeconfig, c.Spec.APIServerRef = "EtcdClient", nil, nil
		c.Spec.Outputs = []v1alpha1.CredentialOutput{{Format: "CAPI", ClusterName: "prod"}}
	}))
	w.ready("admin", &v1alpha1.NodeCredential{})
	w.ready("etcd", &v1alpha1.NodeCredential{})
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Outputs = []v1alpha1.CAOutput{{Format: "CAPI", ClusterName: "prod"}}
	})
	w.eventually("all are there", func() error {
		for _, name := range []string{"prod-ca", "prod-kubeconfig", "prod-flux", "prod-argocd", "prod-apiserver-etcd-client"} {
			if w.missing(name, &corev1.Secret{}) || len(w.secret(name).Data) == 0 {
				return errors.New(name + " is not")
			}
		}
		return nil
	})
	before := w.secret("prod-apiserver-etcd-client").Data["tls.crt"]
	edit(w, "prod-flux", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["value"] = []byte("nothing") })
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "2026-11" })
	w.walk("k8s", nil)
	bundle := pki.EncodeCertificates(w.root("k8s"))
	w.eventually("the outputs are of the new CA", func() error {
		admin := w.secret("admin-tls").Data
		for name, cluster := range map[string]string{"prod-kubeconfig": "prod", "prod-flux": "prod"} {
			config, err := clientcmd.Load(w.secret(name).Data["value"])
			if err != nil {
				return err
			}
			user := config.AuthInfos["kubernetes-admin"]
			if user == nil || !bytes.Equal(user.ClientCertificateData, admin["tls.crt"]) || !bytes.Equal(user.ClientKeyData, admin["tls.key"]) ||
				!bytes.Equal(config.Clusters[cluster].CertificateAuthorityData, bundle) {
				return errors.New(name + " is not")
			}
		}
		if pair := w.secret("prod-apiserver-etcd-client").Data; bytes.Equal(pair["tls.crt"], before) || !bytes.Equal(pair["tls.key"], w.secret("etcd-tls").Data["tls.key"]) {
			return errors.New("the client of etcd is not")
		}
		if ca := w.secret("prod-ca").Data["tls.crt"]; !bytes.Equal(ca, bundle) {
			return errors.New("the CA is not")
		}
		return nil
	})
	if server := string(w.secret("prod-argocd").Data["server"]); !strings.HasPrefix(server, "https://") {
		t.Errorf("Argo CD's server is %q", server)
	}
}

// TestOutputsOfKeys: Cluster API's form of service account keys has the public keys where it has certificates elsewhere, and a Secret is one thing only.
func TestOutputsOfKeys(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(given.AccountKey("prod-sa", func(k *v1alpha1.ServiceAccountKey) {
		k.Spec.Outputs = []v1alpha1.KeyOutput{{Format: "CAPI", ClusterName: "prod"}, {Format: "Kamaji", ClusterName: "tenant"}}
	}))
	w.condition("prod-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec)
	w.settled()
	if s := w.secret("prod-sa"); s.Type != corev1.SecretTypeOpaque || len(s.Data["sa.key"]) == 0 {
		t.Errorf("the Secret of the keys is of type %s", s.Type)
	}
	edit(w, "prod-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { k.Spec.SecretName = "keys" })
	w.condition("prod-sa", &v1alpha1.ServiceAccountKey{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretTypeDiffers)
	w.delete(w.secret("prod-sa"))
	w.ready("prod-sa", &v1alpha1.ServiceAccountKey{})
	keys := w.secret("keys").Data
	w.holdsValue("prod-sa", "tls.crt", keys["sa.pub"])
	w.holdsValue("prod-sa", "tls.key", keys["sa.key"])
	w.holdsValue("tenant-sa-certificate", "sa.pub", keys["sa.pub"])
	edit(w, "prod-sa", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.key"] = []byte("x") })
	w.holdsValue("prod-sa", "tls.key", keys["sa.key"])
}
