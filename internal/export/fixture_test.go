package export

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"path"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

const namespace = "prod"

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// fixture is a management cluster as the operator leaves it.
type fixture struct {
	t       *testing.T
	cas     map[string]pki.CA
	objects []client.Object
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	w := &fixture{t: t, cas: map[string]pki.CA{}}
	for _, name := range []string{"k8s", "front-proxy", "etcd"} {
		pair, err := pki.SelfSign(now, pki.CertificateSpec{
			Subject: pki.Subject{CommonName: name + "-ca"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 24 * time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.cas[name] = pair
		ca := &v1alpha1.ClusterCA{ObjectMeta: named(name)}
		ca.Status.Trust.BundleSHA256 = pki.BundleDigest([]*x509.Certificate{pair.Cert})
		w.objects = append(w.objects, ca, &corev1.ConfigMap{ // somebody's: nothing of it may count
			ObjectMeta: named(v1alpha1.TrustConfigMapName(name)), Data: map[string]string{"ca.crt": "changed"},
		})
	}
	return w
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1}
}

func (w *fixture) client() client.Client {
	return fake.NewClientBuilder().WithScheme(controller.Scheme()).WithObjects(w.objects...).Build()
}

// leaf issues a certificate and returns the data of its Secret.
func (w *fixture) leaf(ca, name string) map[string][]byte {
	w.t.Helper()
	pair, err := pki.Issue(now, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: name}, Usages: []pki.Usage{pki.ClientAuth},
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}, w.cas[ca])
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string][]byte{"tls.crt": pair.CertPEM(), "tls.key": key, "ca.crt": w.cas[ca].CertPEM()}
}

func (w *fixture) secret(name string, data map[string][]byte) {
	w.objects = append(w.objects, &corev1.Secret{ObjectMeta: named(name), Data: data})
}

func ready() []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
}

// server adds the API server of k8s-master.
func (w *fixture) server(mods ...func(*v1alpha1.APIServerCertificate)) {
	s := &v1alpha1.APIServerCertificate{ObjectMeta: named("k8s-master")}
	s.Spec = v1alpha1.APIServerCertificateSpec{
		CARef: v1alpha1.CAReference{Name: "k8s"}, HostName: "k8s-master", ClusterDomain: "cluster.local",
		ServiceCIDRs: []string{"10.96.0.0/12"}, IPAddresses: []string{"10.1.10.238"}, Endpoint: "https://k8s-master:6443",
		ServiceAccountKeyRef: &v1alpha1.KeyReference{Name: "k8s"},
	}
	s.Status.Conditions, s.Status.ObservedGeneration = ready(), 1
	for _, mod := range mods {
		mod(s)
	}
	data := w.leaf(s.Spec.CARef.Name, s.Spec.HostName)
	data["client-ca.crt"] = w.cas["k8s"].CertPEM()
	w.secret(s.TLSSecretName(), data)
	w.objects = append(w.objects, s)
	if s.ServiceAccountKeyName() != "" {
		w.accounts()
	}
}

// key makes one, and the private half of it in PEM.
func (w *fixture) key() (pki.PrivateKey, []byte) {
	w.t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := key.Reveal()
	if err != nil {
		w.t.Fatal(err)
	}
	return key, private
}

// accounts adds the ServiceAccountKey of the cluster after one rotation: of two keys the first signs.
func (w *fixture) accounts() {
	w.t.Helper()
	signs, private := w.key()
	former, _ := w.key()
	public, err := keyring.PublicPEM([]crypto.PublicKey{signs.Public(), former.Public()})
	if err != nil {
		w.t.Fatal(err)
	}
	k := &v1alpha1.ServiceAccountKey{ObjectMeta: named("k8s")}
	k.Spec.SecretName = "k8s-sa"
	k.Status.Conditions, k.Status.ObservedGeneration = ready(), 1
	k.Status.PublicKeysSHA256 = delivery.DigestOf(public)
	w.secret("k8s-sa", map[string][]byte{"sa.key": private, "sa.pub": public})
	w.objects = append(w.objects, k)
}

// credential adds one, with a kubeconfig where its role has one.
func (w *fixture) credential(host string, role v1alpha1.Role, ca string, mods ...func(*v1alpha1.NodeCredential)) {
	w.t.Helper()
	c := &v1alpha1.NodeCredential{ObjectMeta: named(host + "-" + string(role))}
	c.Spec = v1alpha1.NodeCredentialSpec{CARef: v1alpha1.CAReference{Name: ca}, HostName: host, Role: role}
	if ca == "k8s" {
		c.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: "k8s-master"}
	}
	if hostfiles.ForRole(string(role), c.Name).Kubeconfig != "" {
		c.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{Directory: "/etc/kubernetes"}
	}
	c.Status.Conditions, c.Status.ObservedGeneration = ready(), 1
	for _, mod := range mods {
		mod(c)
	}
	data := w.leaf(ca, c.Name)
	w.secret(c.TLSSecretName(), data)
	if c.Spec.Kubeconfig != nil {
		w.secret(c.KubeconfigSecretName(), w.kubeconfig(c, data))
	}
	w.objects = append(w.objects, c)
}

func (w *fixture) kubeconfig(c *v1alpha1.NodeCredential, leaf map[string][]byte) map[string][]byte {
	w.t.Helper()
	dir := c.Spec.Kubeconfig.Directory
	at := hostfiles.ForRole(string(c.Spec.Role), c.Name).Below(dir)
	p := kubeconfig.Params{
		Server: "https://k8s-master:6443", ClusterName: "k8s-cluster", ContextName: "default-system", UserName: "default-admin",
		CA:          kubeconfig.Material{PEM: leaf["ca.crt"]},
		Certificate: kubeconfig.Material{PEM: leaf["tls.crt"]}, Key: kubeconfig.Material{PEM: leaf["tls.key"]},
	}
	embedded, err := kubeconfig.Render(p)
	if err != nil {
		w.t.Fatal(err)
	}
	p.CA = kubeconfig.Material{Path: path.Join(dir, hostfiles.CA)}
	p.Certificate, p.Key = kubeconfig.Material{Path: at.Certificate}, kubeconfig.Material{Path: at.Key}
	files, err := kubeconfig.Render(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string][]byte{
		"value": embedded, "kubeconfig.files": files,
		"ca.crt": leaf["ca.crt"], "tls.crt": leaf["tls.crt"], "tls.key": leaf["tls.key"],
	}
}

func serves(addresses ...string) func(*v1alpha1.NodeCredential) {
	return func(c *v1alpha1.NodeCredential) { c.Spec.IPAddresses = addresses }
}

// cluster is the one of config/samples.
func cluster(t *testing.T) *fixture {
	t.Helper()
	w := newFixture(t)
	w.server()
	for _, role := range []v1alpha1.Role{"ControllerManager", "Scheduler", "Admin", "APIServerKubeletClient"} {
		w.credential("k8s-master", role, "k8s")
	}
	w.credential("k8s-master", "FrontProxyClient", "front-proxy")
	w.credential("k8s-master", "EtcdServer", "etcd", serves("10.1.10.238"))
	w.credential("k8s-master", "EtcdPeer", "etcd", serves("10.1.10.238"))
	w.credential("k8s-master", "EtcdClient", "etcd")
	w.credential("k8s-master", "EtcdHealthcheckClient", "etcd")
	w.credential("k8s-node1", "Kubelet", "k8s")
	w.credential("k8s-node1", "KubeProxy", "k8s")
	w.credential("k8s-node1", "KubeletServing", "k8s", serves("10.1.10.239"))
	return w
}

// lay exports a host and returns its files by path.
func (w *fixture) lay(host, dir string) (map[string]File, []string) {
	w.t.Helper()
	h, err := Gather(w.t.Context(), clientreader.Reader{Client: w.client()}, namespace, host)
	if err != nil {
		w.t.Fatal(err)
	}
	files, notes, err := Layout(h, dir, now)
	if err != nil {
		w.t.Fatal(err)
	}
	byPath := map[string]File{}
	for _, f := range files {
		if bytes.Contains(f.Data, []byte("PRIVATE KEY")) && f.Mode != secretMode {
			w.t.Errorf("%s holds a key and has mode %v", f.Path, f.Mode)
		}
		byPath[f.Path] = f
	}
	return byPath, notes
}

// all are the custom resources.
func (w *fixture) all() (out Objects) {
	for _, o := range w.objects {
		switch o := o.(type) {
		case *v1alpha1.ClusterCA:
			out.CAs = append(out.CAs, *o)
		case *v1alpha1.APIServerCertificate:
			out.Servers = append(out.Servers, *o)
		case *v1alpha1.NodeCredential:
			out.Credentials = append(out.Credentials, *o)
		case *v1alpha1.ServiceAccountKey:
			out.Keys = append(out.Keys, *o)
		}
	}
	return out
}
