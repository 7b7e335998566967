package export

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
)

// withoutKey takes the keys of a host's only credential out of its Secrets, as the operator leaves them.
func (w *fixture) withoutKey(c *v1alpha1.NodeCredential) {
	for _, o := range w.objects {
		if s, ok := o.(*corev1.Secret); ok && (s.Name == c.TLSSecretName() || s.Name == c.KubeconfigSecretName()) {
			for _, key := range []string{"tls.key", "value"} {
				delete(s.Data, key)
			}
		}
	}
}

// A credential whose key is on its host is exported without it, and with the word where it has to lie.
func TestKeyOnHost(t *testing.T) {
	w := newFixture(t)
	w.server()
	var kubelet *v1alpha1.NodeCredential
	w.credential("k8s-node1", "Kubelet", "k8s", func(c *v1alpha1.NodeCredential) {
		c.Spec.KeySource, kubelet = v1alpha1.KeySourceHost, c
	})
	w.credential("k8s-node1", "KubeProxy", "k8s")
	w.withoutKey(kubelet)
	files, notes := w.lay("k8s-node1", "/srv/k8s")
	want := strings.Fields(`args/kube-proxy args/kubelet kube-proxy.conf kube-proxy.embedded.conf kubelet-config.yaml kubelet.conf
		pki/ca.crt pki/client-ca.crt pki/kube-proxy.crt pki/kube-proxy.key pki/kubelet-client.crt`)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"the key of NodeCredential k8s-node1-Kubelet is on the host: it has to lie at /srv/k8s/pki/kubelet-client.key, with mode 0600",
	}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if !bytes.Contains(files["kubelet.conf"].Data, []byte("client-key: /srv/k8s/pki/kubelet-client.key")) {
		t.Errorf("kubelet.conf is\n%s", files["kubelet.conf"].Data)
	}
}

// Where the operator makes the key, its absence is a fault.
func TestMissingKeyIsAProblem(t *testing.T) {
	w := newFixture(t)
	w.server()
	var kubelet *v1alpha1.NodeCredential
	w.credential("k8s-node1", "Kubelet", "k8s", func(c *v1alpha1.NodeCredential) { kubelet = c })
	w.withoutKey(kubelet)
	_, err := Gather(t.Context(), clientreader.Reader{Client: w.client()}, namespace, "k8s-node1")
	for _, want := range []string{`has no "tls.key"`, `has no "value"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
