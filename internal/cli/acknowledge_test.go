package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// carried is a namespace whose files a person carries, and the directory that they were carried to.
func carried(t *testing.T) (w *fixture, admin, dir string) {
	t.Helper()
	w = newFixture(t)
	w.operate(0)
	byHand := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}
	w.create(given.CA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.SecretName, c.Spec.Delivery = "k8s-pair", byHand }))
	w.create(given.CA("front-proxy"))
	w.create(given.Server("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery, c.Spec.RequestHeaderCARef = byHand, &v1alpha1.CAReference{Name: "front-proxy"}
		c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "k8s-sa"}
	}))
	w.create(given.AccountKey("k8s-sa"))
	w.create(given.Kubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery = byHand }))
	w.create(given.Kubelet("mounted"))
	w.ready(&v1alpha1.ServiceAccountKey{}, "k8s-sa")
	w.ready(&v1alpha1.APIServerCertificate{}, "k8s-master")
	for _, name := range []string{"node1", "mounted"} {
		w.ready(&v1alpha1.NodeCredential{}, name)
	}
	testenv.Ready(t, w.api, w.ca())
	dir = t.TempDir()
	for _, secret := range []string{"k8s-pair", "k8s-master-tls", "node1-tls", "node1-kubeconfig", "k8s-sa"} {
		w.carry(secret, filepath.Join(dir, secret))
	}
	return w, adminKubeconfig(t, cfg.Host), dir
}

// carry writes what a Secret holds to files.
func (w *fixture) carry(secret, dir string) {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: secret}, &s); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for key, value := range s.Data {
		if err := os.WriteFile(filepath.Join(dir, key), value, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestAcknowledge states what is on a host, for each kind, and refuses what is not what was issued.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	w, admin, dir := carried(t)
	at := func(file string) string { return filepath.Join(dir, file) }
	node := []string{"nodecred/node1", "--tls-crt", at("node1-tls/tls.crt"), "--ca-crt", at("node1-tls/ca.crt"), "--installed-kubeconfig", at("node1-kubeconfig/value")}
	server := []string{
		"asc/k8s-master", "--tls-crt", at("k8s-master-tls/tls.crt"), "--ca-crt", at("k8s-master-tls/ca.crt"), "--client-ca-crt", at("k8s-master-tls/client-ca.crt"),
		"--requestheader-ca-crt", at("k8s-master-tls/requestheader-ca.crt"), "--sa-pub", at("k8s-sa/sa.pub"),
	}
	if err := os.WriteFile(at("other.pub"), otherPublicKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"another certificate": {replaced(node, 2, at("k8s-master-tls/tls.crt")), 2, "is issued: bring that one to the host first"},
		"another bundle":      {replaced(node, 4, at("k8s-master-tls/requestheader-ca.crt")), 2, "lacks the certificate of"},
		"a file is not named": {node[:5], 1, "with --installed-kubeconfig"},
		"a file is not there": {replaced(node, 2, at("gone")), 1, "no such file"},
		"a private key":       {replaced(node, 2, at("node1-tls/tls.key")), 1, "PRIVATE KEY, line 1) stands among the certificates"},
		"no kubeconfig":       {replaced(node, 6, at("node1-tls/ca.crt")), 1, "--installed-kubeconfig"},
		"another delivery":    {[]string{"nodecred/mounted", "--tls-crt", at("node1-tls/tls.crt")}, 1, "only with 'Manual'"},
		"no such object":      {[]string{"nodecred/gone"}, 1, `there is no NodeCredential "gone"`},
		"a CA without a copy": {[]string{"clusterca/front-proxy"}, 1, "has no spec.secretName"},
		"a Secret":            {[]string{"secret/node1-tls"}, 1, "name the object"},
		"no sa.pub is named":  {server[:9], 1, "with --sa-pub"},
		"another sa.pub":      {replaced(server, 10, at("other.pub")), 2, "is not what Secret \"k8s-sa\" holds as sa.pub now"},
		"a sa.pub of nothing": {replaced(server, 10, at("k8s-master-tls/ca.crt")+"x"), 1, "--sa-pub"},
		"a node's sa.pub":     {append(slices.Clone(node), "--sa-pub", at("k8s-sa/sa.pub")), 1, "leave it out"},
		"a dry run":           {append([]string{"--dry-run"}, server...), 0, "name: front-proxy"},
	} {
		out, err := w.as(admin, append([]string{"acknowledge"}, tc.args...)...)
		if text := out + errorText(err); ExitCode(err) != tc.code || !strings.Contains(text, tc.says) || strings.Contains(text, "BEGIN") {
			t.Errorf("%s: %d\n%s", name, ExitCode(err), text)
		}
	}
	var c v1alpha1.NodeCredential
	w.read("node1", &c)
	if c.Spec.Delivery.Acknowledged != nil {
		t.Errorf("acknowledged is %+v", c.Spec.Delivery.Acknowledged)
	}
	for _, args := range [][]string{node, server, {"clusterca/k8s", "--tls-crt", at("k8s-pair/tls.crt")}} {
		if out, err := w.as(admin, append([]string{"acknowledge"}, args...)...); err != nil || !strings.Contains(out, "acknowledged") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	w.read("node1", &c)
	ca := w.ca()
	if a := c.Spec.Delivery.Acknowledged; a == nil || a.SerialNumber != c.Status.Certificate.SerialNumber || len(a.Trust) != 1 ||
		a.Trust[0].BundleSHA256 != ca.Status.Trust.BundleSHA256 {
		t.Errorf("acknowledged is %+v", a)
	}
	var s v1alpha1.APIServerCertificate
	var k v1alpha1.ServiceAccountKey
	w.read("k8s-sa", &k)
	if w.read("k8s-master", &s); len(s.Spec.Delivery.Acknowledged.Trust) != 2 || s.Spec.Delivery.Acknowledged.PublicKeysSHA256 != k.Status.PublicKeysSHA256 {
		t.Errorf("acknowledged is %+v", s.Spec.Delivery.Acknowledged)
	}
	if a := ca.Spec.Delivery.Acknowledged; a == nil || a.SerialNumber != ca.Status.Certificate.SerialNumber {
		t.Errorf("acknowledged is %+v", a)
	}
}

// TestAcknowledgeInGit: what a tool keeps as it is in Git is not written, and what to put there is said.
func TestAcknowledgeInGit(t *testing.T) {
	t.Parallel()
	w, admin, dir := carried(t)
	ca := w.ca()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"fleet"}}}`))
	if err := w.api.Patch(t.Context(), ca, patch); err != nil {
		t.Fatal(err)
	}
	args := []string{"acknowledge", "clusterca/k8s", "--tls-crt", filepath.Join(dir, "k8s-pair", "tls.crt")}
	_, err := w.as(admin, args...)
	if ExitCode(err) != 1 || !strings.Contains(err.Error(), "Flux") || !strings.Contains(err.Error(), "serialNumber: "+ca.Status.Certificate.SerialNumber) {
		t.Errorf("%d: %v", ExitCode(err), err)
	}
	if w.ca().Spec.Delivery.Acknowledged != nil {
		t.Error("it is written")
	}
	if _, err := w.as(admin, append(args, "--force")...); err != nil || w.ca().Spec.Delivery.Acknowledged == nil {
		t.Errorf("with --force: %v", err)
	}
}

func (w *fixture) read(name string, o client.Object) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o); err != nil {
		w.t.Fatal(err)
	}
}

// otherPublicKey is a service account key of another cluster.
func otherPublicKey(t *testing.T) []byte {
	t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// replaced are arguments with another one at a place.
func replaced(args []string, i int, with string) []string {
	out := append([]string{}, args...)
	out[i] = with
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestWhatAKubeconfigNames: in itself, or in a file beside it or elsewhere.
func TestWhatAKubeconfigNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	beside := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(beside, []byte("a bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "kubelet.conf")
	ca := consumers.Use{Key: consumers.BundleKey}
	for name, tc := range map[string]struct {
		m    kubeconfig.Material
		text string
		from string
	}{
		"embedded":       {kubeconfig.Material{PEM: []byte("pem")}, "pem", conf},
		"beside it":      {kubeconfig.Material{Path: "ca.crt"}, "a bundle", beside},
		"anywhere":       {kubeconfig.Material{Path: beside}, "a bundle", beside},
		"not there":      {kubeconfig.Material{Path: "gone"}, "", filepath.Join(dir, "gone")},
		"nothing at all": {kubeconfig.Material{}, "", conf},
	} {
		text, from, err := materialOf(kubeconfig.Current{CA: tc.m}, ca, conf)
		if string(text) != tc.text || from != tc.from || (err != nil) != (name == "not there") {
			t.Errorf("%s: %q from %s: %v", name, text, from, err)
		}
	}
	if text, _, _ := materialOf(kubeconfig.Current{Certificate: kubeconfig.Material{PEM: []byte("leaf")}}, consumers.Use{Key: corev1.TLSCertKey}, conf); string(text) != "leaf" {
		t.Errorf("the certificate is %q", text)
	}
}
