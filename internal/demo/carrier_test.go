package demo

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/target"
)

// delivery is a management cluster that holds what one host with an API server and a controller manager needs.
type delivery struct {
	t        *testing.T
	client   client.Client
	pki      *bootstrap
	host     target.Host
	carrier  *carrier
	restarts []string
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newDelivery(t *testing.T) *delivery {
	t.Helper()
	host := target.Host{Name: managementHost, Directory: filepath.Join(t.TempDir(), "host")}
	d := &delivery{t: t, host: host, pki: &bootstrap{now: noon, address: "127.0.20.10", port: 6443, dir: host.Directory}}
	if _, err := d.pki.files(); err != nil { // makes its CAs
		t.Fatal(err)
	}
	ready := []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
	server, err := d.pki.server()
	if err != nil {
		t.Fatal(err)
	}
	server.Object.Namespace, server.Object.Name, server.Object.Status.Conditions = namespace, managementHost, ready
	server.Object.Spec.ServiceAccountKeys = nil
	manager := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cm"}}
	manager.Spec.HostName, manager.Spec.Role, manager.Spec.Kubeconfig = managementHost, "ControllerManager", &v1alpha1.KubeconfigSpec{}
	manager.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: managementHost}
	manager.Status.Conditions = ready
	d.client = fake.NewClientBuilder().WithScheme(controller.Scheme()).WithObjects(server.Object, manager).Build()
	d.put(server.Object.TLSSecretName(), server.TLS)
	d.putManager(d.credential(), d.pki.cas["management-ca"])
	d.carrier = newCarrier(d.client, []target.Host{host}, testingclock.NewFakePassiveClock(noon), t.Logf)
	d.carrier.restart = func(h target.Host, component string) error {
		d.restarts = append(d.restarts, component+" on "+h.Name)
		return nil
	}
	return d
}

// put writes a Secret, and keeps of an existing one what is not in data.
func (d *delivery) put(name string, data map[string][]byte) {
	d.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := d.client.Get(d.t.Context(), client.ObjectKeyFromObject(s), s)
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	maps.Copy(s.Data, data)
	if err != nil {
		err = d.client.Create(d.t.Context(), s)
	} else {
		err = d.client.Update(d.t.Context(), s)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *delivery) credential() map[string][]byte {
	d.t.Helper()
	c, err := d.pki.credential("ControllerManager", "management-ca")
	if err != nil {
		d.t.Fatal(err)
	}
	return c.TLS
}

// putManager writes the two Secrets of the controller manager, with a bundle of some CAs.
func (d *delivery) putManager(data map[string][]byte, bundle ...pki.KeyPair) {
	d.t.Helper()
	var text []byte
	for _, ca := range bundle {
		text = append(text, ca.CertPEM()...)
	}
	object := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "cm"}}
	object.Spec.Role, object.Spec.Kubeconfig = "ControllerManager", &v1alpha1.KubeconfigSpec{}
	c, err := d.pki.credential("ControllerManager", "management-ca")
	if err != nil {
		d.t.Fatal(err)
	}
	c.Object.Name, c.TLS = "cm", data
	kube, err := d.pki.kubeconfig(c)
	if err != nil {
		d.t.Fatal(err)
	}
	kube["ca.crt"] = text
	d.put(object.TLSSecretName(), data)
	d.put(object.KubeconfigSecretName(), kube)
	d.put(managementHost+"-tls", map[string][]byte{"ca.crt": text, "client-ca.crt": text})
}

func (d *delivery) visit() {
	d.t.Helper()
	if err := d.carrier.visit(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *delivery) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.host.Directory, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// sets are the sets of files that lie on the host.
func (d *delivery) sets() []string {
	sets, err := filepath.Glob(filepath.Join(d.host.Directory, "..set-*"))
	if err != nil {
		d.t.Fatal(err)
	}
	return sets
}

func TestCarrier(t *testing.T) {
	d := newDelivery(t)
	first := d.pki.cas["management-ca"]
	other, err := pki.SelfSign(noon, pki.Request{Subject: pki.Subject{CommonName: "other"}, Key: bootstrapKey, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	d.visit()
	if d.carrier.waiting != nil || !strings.HasPrefix(d.read("controller-manager.conf"), "apiVersion") || len(d.restarts) > 0 {
		t.Fatalf("nothing is carried: %v; restarted: %v", d.carrier.waiting, d.restarts)
	}

	before := d.sets()
	d.visit()
	if !slices.Equal(d.sets(), before) {
		t.Error("the files are written again although nothing has changed")
	}

	pair := d.credential()
	d.putManager(pair, first)
	d.visit()
	if d.read("pki/controller-manager.crt") != string(pair["tls.crt"]) || d.read("pki/controller-manager.key") != string(pair["tls.key"]) {
		t.Error("another certificate isn't carried")
	}
	if len(d.sets()) != 2 {
		t.Error("what lay there before is gone at once: a reader may be on its way")
	}
	d.visit()
	if len(d.sets()) != 1 {
		t.Error("what lay there before stays")
	}
	if len(d.restarts) > 0 {
		t.Errorf("restarted for a certificate that is reloaded: %v", d.restarts)
	}

	d.putManager(pair, first, other)
	d.visit()
	if got := d.read("pki/ca.crt"); got != string(first.CertPEM())+string(other.CertPEM()) {
		t.Errorf("the bundle on the host is\n%s", got)
	}
	want := []string{"kube-controller-manager on " + managementHost}
	if !slices.Equal(d.restarts, want) {
		t.Errorf("for another bundle, restarted are %v", d.restarts)
	}

	d.putManager(pair, other, first)
	d.visit()
	if !strings.HasPrefix(d.read("pki/ca.crt"), string(other.CertPEM())) || !slices.Equal(d.restarts, want) {
		t.Errorf("for another order of the bundle, restarted are %v", d.restarts)
	}
}

// TestCarrierWaits: between two writes of the operator the host keeps what it has.
func TestCarrierWaits(t *testing.T) {
	d := newDelivery(t)
	d.visit()
	old := d.read("pki/controller-manager.crt")
	next := d.credential()
	d.put("cm-tls", next) // the kubeconfig's Secret has the certificate of before
	d.visit()
	if d.carrier.waiting == nil || d.read("pki/controller-manager.crt") != old {
		t.Errorf("half of a change is carried (%v)", d.carrier.waiting)
	}
	d.putManager(next, d.pki.cas["management-ca"])
	d.visit()
	if d.carrier.waiting != nil || d.read("pki/controller-manager.crt") != string(next["tls.crt"]) {
		t.Errorf("the whole change isn't carried: %v", d.carrier.waiting)
	}
}

// TestCarrierTriesAgain: what was not Ready is carried once it is, although no Secret changes any more.
func TestCarrierTriesAgain(t *testing.T) {
	d := newDelivery(t)
	d.visit()
	next := d.credential()
	d.putManager(next, d.pki.cas["management-ca"])
	report := func(status metav1.ConditionStatus) {
		t.Helper()
		var manager v1alpha1.NodeCredential
		err := d.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "cm"}, &manager)
		if err == nil {
			manager.Status.Conditions[0].Status = status
			err = d.client.Update(t.Context(), &manager)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	report(metav1.ConditionFalse)
	d.visit()
	if d.carrier.waiting == nil || d.read("pki/controller-manager.crt") == string(next["tls.crt"]) {
		t.Error("what is not Ready is carried")
	}
	report(metav1.ConditionTrue)
	d.visit()
	if d.read("pki/controller-manager.crt") != string(next["tls.crt"]) {
		t.Errorf("what has become Ready isn't carried: %v", d.carrier.waiting)
	}
}
