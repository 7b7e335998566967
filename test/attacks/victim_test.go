package attacks_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// victim is the namespace of a production cluster's PKI.
type victim struct {
	t  *testing.T
	ns string
	// before is what decides, as it was when the attack began.
	before snapshot
	// planted is what attackers brought, and unrelated what nobody may touch.
	planted   []planted
	unrelated []*corev1.Secret
	// attackers and nodes count those that were made.
	attackers, nodes int
}

// newVictim makes a CA, an API server and a kubelet, and waits until all are Ready.
func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{t: t, ns: testenv.Namespace(t, admin, "prod-")}
	v.create(clusterCA("k8s"), server("k8s-master"), kubelet("node1"))
	v.ready(&v1alpha1.ClusterCA{}, "k8s")
	v.ready(&v1alpha1.APIServerCertificate{}, "k8s-master")
	v.ready(&v1alpha1.NodeCredential{}, "node1")
	v.before = v.decides()
	return v
}

func clusterCA(name string) *v1alpha1.ClusterCA {
	return given.CA(name, func(ca *v1alpha1.ClusterCA) { ca.Spec.Delivery = given.Soon(v1alpha1.DeliveryMounted) })
}

func server(name string) *v1alpha1.APIServerCertificate {
	return given.Server(name, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery = given.Soon(v1alpha1.DeliveryMounted) })
}

func kubelet(name string) *v1alpha1.NodeCredential {
	return given.Kubelet(name, func(c *v1alpha1.NodeCredential) {
		c.Spec.HostName, c.Spec.Delivery = "k8s-"+name, given.Soon(v1alpha1.DeliveryMounted)
	})
}

func (v *victim) create(objects ...client.Object) {
	v.t.Helper()
	for _, o := range objects {
		o.SetNamespace(v.ns)
		if err := admin.Create(v.t.Context(), o); err != nil {
			v.t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

// attacker is somebody who may do so much in the namespace, and nothing else anywhere.
func (v *victim) attacker(rules ...rbacv1.PolicyRule) client.Client {
	v.t.Helper()
	v.attackers++
	name := fmt.Sprintf("mallory-%d", v.attackers)
	c, err := testenv.Granted(v.t.Context(), cfg, v.ns, name, rules...)
	v.must(err)
	return c
}

// newcomer names a node that was not there.
func (v *victim) newcomer() string {
	v.nodes++
	return fmt.Sprintf("newcomer%d", v.nodes)
}

// joins lets a new node have its credential.
func (v *victim) joins() {
	v.t.Helper()
	name := v.newcomer()
	v.create(kubelet(name))
	v.ready(&v1alpha1.NodeCredential{}, name)
}

// may is a rule for a Role.
func may(resource string, verbs ...string) rbacv1.PolicyRule {
	group := ""
	switch resource {
	case "clustercas", "apiservercertificates", "nodecredentials":
		group = v1alpha1.GroupVersion.Group
	case "leases":
		group = "coordination.k8s.io"
	}
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// must ends the test where the attacker cannot even do what he has the right to.
func (v *victim) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// authority is what the authority namespace holds of a CA.
func (v *victim) authority(ca string) map[string][]byte {
	v.t.Helper()
	var s corev1.Secret
	v.must(admin.Get(v.t.Context(), client.ObjectKey{Namespace: controller.DefaultAuthorityNamespace, Name: authority.SecretName(v.ns, ca)}, &s))
	return s.Data
}

// rotates edits one field, and waits until the CA is another one and everything is of it: nothing that was done stands in the
// way, and nothing that was planted is used.
func (v *victim) rotates() {
	v.t.Helper()
	old := v.root()
	v.edit(&v1alpha1.ClusterCA{}, "k8s", func(o client.Object) { o.(*v1alpha1.ClusterCA).Spec.Rotation.Trigger = "after" })
	v.completed("after")
	if root := v.root(); root.Equal(old) || !pki.SignedBy(v.certificate("k8s-master-tls"), root) || !pki.SignedBy(v.certificate("node1-tls"), root) {
		v.t.Error("not everything is of the new CA")
	}
	v.rotated()
	v.asBefore()
	v.usesNothingPlanted()
}

// application makes the TLS Secret of an application that has nothing to do with the CA: nobody may touch it.
func (v *victim) application(name string) {
	v.t.Helper()
	_, certPEM, keyPEM := evil(v.t)
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM},
	}
	v.create(s)
	v.unrelated = append(v.unrelated, s)
}

func (v *victim) root() *x509.Certificate {
	v.t.Helper()
	r, err := authority.New(controller.DefaultAuthorityNamespace, admin, nil).Live(v.t.Context(), v.ns, "k8s")
	v.must(err)
	pair, err := r.Active()
	v.must(err)
	return pair.Cert
}

func (v *victim) get(o client.Object, name string) error {
	return admin.Get(v.t.Context(), client.ObjectKey{Namespace: v.ns, Name: name}, o)
}

func (v *victim) secret(name string) *corev1.Secret {
	v.t.Helper()
	var s corev1.Secret
	v.must(v.get(&s, name))
	return &s
}

func (v *victim) certificate(secret string) *x509.Certificate {
	v.t.Helper()
	certs, err := pki.ParseCertificates(v.secret(secret).Data["tls.crt"])
	v.must(err)
	return certs[0]
}

func (v *victim) edit(o client.Object, name string, change func(client.Object)) {
	v.t.Helper()
	o.SetNamespace(v.ns)
	o.SetName(name)
	testenv.Edit(v.t, admin, o, change)
}

// look lets the operator visit an object now, and not within the minute.
func (v *victim) look(o client.Object, name string) {
	v.t.Helper()
	v.edit(o, name, func(o client.Object) { o.SetAnnotations(map[string]string{"look": time.Now().String()}) })
}

func (v *victim) ready(o v1alpha1.Object, name string) {
	v.t.Helper()
	o.SetNamespace(v.ns)
	o.SetName(name)
	testenv.Ready(v.t, admin, o)
}

// told waits until an object says what is wrong, and answers in which words.
func (v *victim) told(o v1alpha1.Object, name, condition, reason string) (message string) {
	v.t.Helper()
	testenv.Eventually(v.t, fmt.Sprintf("%s says %s", name, reason), func() error {
		if err := v.get(o, name); err != nil {
			return err
		}
		c := meta.FindStatusCondition(*o.StatusConditions(), condition)
		if c == nil || c.Reason != reason || c.Message == "" {
			return fmt.Errorf("%+v", *o.StatusConditions())
		}
		message = c.Message
		return nil
	})
	return message
}

// evil is a CA of the attacker's.
func evil(t *testing.T) (pair pki.CA, certPEM, keyPEM []byte) {
	t.Helper()
	pair, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 10000 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return pair, pair.CertPEM(), key
}

func isForbidden(err error) bool { return apierrors.IsForbidden(err) }

var errMissing = errors.New("it is not there")
