package outputs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/kubeconfig"
	"sigs.k8s.io/cluster-api/util/secret"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

func forCAPI(c *v1alpha1.ClusterPKI) {
	c.Spec.Outputs = []v1alpha1.ClusterOutput{{Format: v1alpha1.OutputCAPI}}
}

// lookup finds, as Cluster API does, everything that a control plane needs.
func (e *env) lookup(config *bootstrapv1.ClusterConfiguration) secret.Certificates {
	e.Helper()
	all := secret.NewCertificatesForInitialControlPlane(config)
	if err := all.Lookup(e.Context(), e.api, e.key("prod")); err != nil {
		e.Fatal(err)
	}
	if err := all.EnsureAllExist(); err != nil {
		e.Fatal(err)
	}
	return all
}

// TestCAPIFindsItsSecrets: what Cluster API looks up is there, in the form in which it would have made it itself.
func TestCAPIFindsItsSecrets(t *testing.T) {
	t.Parallel()
	e := newEnv(t, forCAPI, func(c *v1alpha1.ClusterPKI) {
		c.Spec.ControlPlane.Etcd = v1alpha1.EtcdSpec{Mode: v1alpha1.EtcdExternal, Hosts: []v1alpha1.EtcdHost{{Name: "etcd1"}}}
	})
	var config bootstrapv1.ClusterConfiguration
	config.Etcd.External = bootstrapv1.ExternalEtcd{CAFile: "ca.crt", CertFile: "client.crt", KeyFile: "client.key", Endpoints: []string{"https://etcd1:2379"}}
	all := e.lookup(&config)
	if len(all) != 5 {
		t.Fatalf("Cluster API looks for %d Secrets", len(all))
	}
	for _, c := range all {
		want := c.AsSecret(e.key("prod"), metav1.OwnerReference{})
		e.same(want, c.Secret)
		if c.Purpose == secret.ServiceAccount { // a public key, and no certificate
			e.signsBy(c.KeyPair)
			continue
		}
		if _, err := tls.X509KeyPair(c.KeyPair.Cert, c.KeyPair.Key); err != nil {
			t.Errorf("%s: %v", c.Purpose, err)
		}
		if _, err := c.Hashes(); err != nil { // what machines that join verify the CA by
			t.Errorf("%s: %v", c.Purpose, err)
		}
	}
	stored := e.secret("prod-kubeconfig")
	e.same(kubeconfig.GenerateSecretWithOwner(e.key("prod"), stored.Data["value"], metav1.OwnerReference{}), stored)
}

// same compares a Secret with the one that Cluster API would have made.
func (e *env) same(want, got *corev1.Secret) {
	e.Helper()
	if got.Name != want.Name || got.Type != want.Type || !slices.Equal(slices.Sorted(maps.Keys(got.Data)), slices.Sorted(maps.Keys(want.Data))) {
		e.Errorf("Secret %s of type %s has the keys %v, and should be %s of type %s with %v", got.Name, got.Type, slices.Sorted(maps.Keys(got.Data)),
			want.Name, want.Type, slices.Sorted(maps.Keys(want.Data)))
	}
	for name, value := range want.Labels {
		if got.Labels[name] != value {
			e.Errorf("Secret %s has the labels %v", got.Name, got.Labels)
		}
	}
}

// signsBy says whether a public key is that of a private one.
func (e *env) signsBy(pair *certs.KeyPair) {
	e.Helper()
	key, err := certs.DecodePrivateKeyPEM(pair.Key)
	if err != nil {
		e.Fatal(err)
	}
	block, _ := pem.Decode(pair.Cert)
	want, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil || block == nil || block.Type != "PUBLIC KEY" || !bytes.Equal(block.Bytes, want) {
		e.Errorf("the public key is not that of the private one: %v", err)
	}
}

// byCAPI connects with the kubeconfig that Cluster API finds.
func (e *env) byCAPI() (*rest.Config, error) {
	text, err := kubeconfig.FromSecret(e.Context(), e.api, e.key("prod"))
	if err != nil {
		return nil, fmt.Errorf("find the kubeconfig: %w", err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return config, nil
}

// TestCAPIFollowsARotation: with the kubeconfig that Cluster API finds it is let in at each moment of the rotation of the CA, and afterwards that is all of
// the new CA. What it finds as the CA is the active one throughout.
func TestCAPIFollowsARotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t, forCAPI)
	old := e.lookup(nil).GetByPurpose(secret.ClusterCA).KeyPair
	before, bundled := e.seen(), false
	e.rotate(func() {
		e.seen()
		ca := e.lookup(nil).GetByPurpose(secret.ClusterCA)
		if _, err := tls.X509KeyPair(ca.KeyPair.Cert, ca.KeyPair.Key); err != nil { // the first certificate's
			t.Errorf("while the CA is rotated: %v", err)
		}
		hashes, err := ca.Hashes()
		bundled = bundled || err == nil && len(hashes) == 2
	})
	if !bundled {
		t.Error("machines that joined could have verified only one of the two CAs")
	}
	testenv.Eventually(t, "Cluster API finds the new CA alone", func() error {
		after, ca := e.seen(), e.lookup(nil).GetByPurpose(secret.ClusterCA).KeyPair
		if !bytes.Equal(after.CAData, ca.Cert) || bytes.Contains(ca.Cert, bytes.TrimSpace(old.Cert)) || bytes.Equal(ca.Key, old.Key) ||
			bytes.Equal(after.CertData, before.CertData) {
			return errors.New("there is something of the old one")
		}
		return nil
	})
	due, err := kubeconfig.NeedsClientCertRotation(e.secret("prod-kubeconfig"), 0)
	if due || err != nil {
		t.Errorf("Cluster API would rotate it now: %v, %v", due, err)
	}
}

// seen connects as Cluster API does, and returns by what.
func (e *env) seen() *rest.Config {
	e.Helper()
	config, err := e.byCAPI()
	if err != nil {
		e.Fatal(err)
	}
	if as, err := e.seenAs(config); as != administrator {
		e.Errorf("with the kubeconfig of Cluster API the API server sees %q: %v", as, err)
	}
	return config
}

// TestCAPIRegenerates: Cluster API can make the kubeconfig anew, with the CA that it finds and the cluster's entry, and the operator puts its own back.
func TestCAPIRegenerates(t *testing.T) {
	t.Parallel()
	e := newEnv(t, forCAPI)
	was := e.secret("prod-kubeconfig")
	next := was.DeepCopy()
	if err := kubeconfig.RegenerateSecret(t.Context(), e.api, next); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(next.Data["value"])
	if err != nil {
		t.Fatal(err)
	}
	if as, err := e.seenAs(config); as != "kubernetes-admin [system:masters]" || config.Host != e.url {
		t.Errorf("at %s the API server sees %q: %v", config.Host, as, err)
	}
	testenv.Eventually(t, "the operator's own is back", func() error {
		if !bytes.Equal(e.secret("prod-kubeconfig").Data["value"], was.Data["value"]) {
			return errors.New("it is not")
		}
		return nil
	})
}
