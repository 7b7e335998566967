package leaks_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestNoKeyIsShown looks for every private key of a whole run in logs, events, statuses, metrics, errors, the audit log, the
// dashboard, the output of each command, a backup without keys, and the files that everybody may read.
func TestNoKeyIsShown(t *testing.T) {
	r := newRun(t)
	if _, err := shared.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.watch()
	metrics, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	stop := r.background(r.as(testenv.System, "clusterpki"), "manager", "--own-namespace="+testenv.System, "--metrics-bind-address="+metrics,
		"--metrics-secure=false", "--health-probe-bind-address=0", "--development-log")
	r.create()
	r.byHand()
	stopAgent := r.agent()
	r.mistakes()
	r.dashboard()
	r.rotate()
	r.acknowledgments()
	r.commands()
	r.restored()
	r.retained()
	r.deliveryKeys()
	r.objects()
	r.get("http://" + metrics + "/metrics")
	stopAgent()
	stop()
	r.search()
}

// create makes objects of every kind, source and algorithm, and waits until they are issued.
func (r *run) create() {
	r.t.Helper()
	r.kubectl("create", "namespace", namespace)
	r.kubectl("apply", "-n", namespace, "-k", "config/samples")
	imported := r.importable(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	r.makeSecret("offline", corev1.SecretTypeTLS, imported)
	algorithms := map[string]v1alpha1.PrivateKeySpec{
		"rsa": {Algorithm: v1alpha1.RSA, Size: 2048}, "ecdsa": {Algorithm: v1alpha1.ECDSA, Size: 384}, "ed25519": {Algorithm: v1alpha1.Ed25519},
	}
	r.make(given.CA("imported", given.ImportedFrom("offline", r.digest(imported)), func(ca *v1alpha1.ClusterCA) {
		ca.Spec.SecretName = "copied"
		ca.Spec.Outputs = []v1alpha1.CAOutput{{Format: v1alpha1.OutputCAPI, ClusterName: "output"}, {Format: v1alpha1.OutputKamaji, ClusterName: "tenant"}}
	}))
	r.make(given.CA("below", func(ca *v1alpha1.ClusterCA) {
		ca.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "imported"}}}
		ca.Spec.PrivateKey, ca.Spec.Delivery = algorithms["rsa"], given.Soon(v1alpha1.DeliveryMounted)
	}))
	r.kubectl("patch", "asc", "k8s-master", "-n", namespace, "--type=merge",
		`--patch={"spec":{"clientCARefs":[{"name":"k8s"},{"name":"below"}],"delivery":{"propagationDelay":"1s"}}}`)
	r.kubectl("patch", "sak", "k8s-sa", "-n", namespace, "--type=merge",
		`--patch={"spec":{"outputs":[{"format":"CAPI","clusterName":"output"},{"format":"Kamaji","clusterName":"tenant"}]}}`)
	for name, key := range algorithms {
		r.make(given.Kubelet(name, func(n *v1alpha1.NodeCredential) {
			n.Spec.CARef.Name, n.Spec.HostName, n.Spec.PrivateKey, n.Spec.Delivery = "below", "k8s-"+name, key, given.Soon(v1alpha1.DeliveryMounted)
			for _, format := range []v1alpha1.OutputFormat{v1alpha1.OutputCAPI, v1alpha1.OutputFlux, v1alpha1.OutputArgoCDCluster} {
				n.Spec.Outputs = append(n.Spec.Outputs, v1alpha1.CredentialOutput{Format: format, ClusterName: "output-" + name})
			}
		}))
	}
	r.ready()
}

func (r *run) make(o v1alpha1.Object) {
	r.t.Helper()
	o.SetNamespace(namespace)
	if err := shared.api.Create(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *run) makeSecret(name string, of corev1.SecretType, data map[string][]byte) {
	r.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: of, Data: data}
	if err := shared.api.Create(r.t.Context(), s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *run) ready() {
	r.t.Helper()
	testenv.EventuallyEvery(r.t, time.Second, "all is Ready", func() error {
		_, err := testenv.AllReady(r.t.Context(), shared.api, namespace)
		return err
	})
}

// importable is a CA that somebody else made.
func (r *run) importable(spec pki.KeySpec) map[string][]byte {
	r.t.Helper()
	ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{Subject: pki.Subject{CommonName: "offline"}, Key: spec, Validity: 87600 * time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := ca.Key.Reveal()
	if err != nil {
		r.t.Fatal(err)
	}
	r.keys.addAll("a key of somebody else", text)
	return map[string][]byte{corev1.TLSCertKey: ca.CertPEM(), corev1.TLSPrivateKeyKey: text}
}

// digest is the SHA-256 of the certificate of an importable CA.
func (r *run) digest(data map[string][]byte) string {
	r.t.Helper()
	certs, err := pki.ParseCertificates(data[corev1.TLSCertKey])
	if err != nil {
		r.t.Fatal(err)
	}
	return pki.FingerprintOf(certs[0])
}

// rotate replaces a CA, with the keys of both generations in use meanwhile, and begins to replace a service account key.
func (r *run) rotate() {
	r.t.Helper()
	r.kubectl("patch", "clusterca", "below", "-n", namespace, "--type=merge", `--patch={"spec":{"rotation":{"trigger":"1","emergencyTrigger":"1"}}}`)
	testenv.EventuallyEvery(r.t, time.Second, "the CA is rotated", func() error {
		var ca v1alpha1.ClusterCA
		err := shared.api.Get(r.t.Context(), client.ObjectKey{Namespace: namespace, Name: "below"}, &ca)
		if err == nil && ca.Status.LastRotation.Result != v1alpha1.RotationCompleted {
			err = fmt.Errorf("lastRotation is %+v", ca.Status.LastRotation)
		}
		return err
	})
	r.kubectl("patch", "sak", "k8s-sa", "-n", namespace, "--type=merge", `--patch={"spec":{"rotation":{"trigger":"1"}}}`)
	key := &v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s-sa"}}
	testenv.Condition(r.t, shared.api, key, v1alpha1.RotatingCondition, metav1.ConditionTrue, "")
}
