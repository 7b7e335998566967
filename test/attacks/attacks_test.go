package attacks_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// attack is what an attacker with the rights that it names does to a namespace.
type attack struct {
	name   string
	rights func(v *victim) client.Client
	do     func(v *victim, mallory client.Client)
	// rotates says that the CA is rotated under the attack.
	rotates bool
}

var attacks = []attack{
	{name: "a generation is entered in the ConfigMap", rights: configMaps, do: enterGeneration},
	{name: "the ConfigMap's bundle is edited", rights: configMaps, do: editBundle},
	{name: "the ConfigMap is deleted, and made by another", rights: configMaps, do: replaceConfigMap},
	{name: "Secrets of predictable names are planted", rights: createSecrets, do: plantSecrets},
	{name: "a key of service account tokens is planted", rights: createSecrets, do: plantServiceAccountKey},
	{name: "the contents of Secrets are replaced", rights: writeSecrets, do: replaceContents},
	{name: "the note on a Secret is forged and replayed", rights: writeSecrets, do: forgeClaim, rotates: true},
	{name: "an older object names another's Secret", rights: editObjects, do: takeOver},
	{name: "an object names what is the CA's", rights: createObjects, do: nameTheCAs},
	{name: "another CA's key is imported", rights: importCAs, do: importForeign},
	{name: "an RSA key of 32768 bits is imported", rights: importCAs, do: importLongKey},
	{name: "a policy rewrites the operator's labels", rights: policies, do: rewriteLabels},
	{name: "the Lease of a host is written", rights: leases, do: forgeLease, rotates: true},
	{name: "the authority namespace is reached for", rights: everything, do: reachForAuthority},
}

// TestAttacks lets each attack happen by itself: what decides is byte for byte as before, and the CA can be rotated.
func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			a.do(v, a.rights(v))
			v.unharmed()
			v.rotates()
		})
	}
}

func configMaps(v *victim) client.Client {
	return v.attacker(may("configmaps", "get", "list", "watch", "create", "update", "patch", "delete"))
}

func createSecrets(v *victim) client.Client { return v.attacker(may("secrets", "create")) }

func writeSecrets(v *victim) client.Client {
	return v.attacker(may("secrets", "get", "list", "watch", "create", "update", "patch", "delete"))
}

// Who attacks by objects has every verb that admission asks for, as where its policies are not installed: what the operator refuses is
// seen here, and what the policies refuse in TestRefused.
func editObjects(v *victim) client.Client { return v.attacker(append(mayEdit, mayMint)...) }

func createObjects(v *victim) client.Client { return v.attacker(append(mayCreate, mayMint)...) }

func importCAs(v *victim) client.Client { return v.attacker(append(mayImport, mayMint)...) }

func everything(v *victim) client.Client {
	return v.attacker(may("*", "*"), may("clustercas", "*"), may("nodecredentials", "*"), may("apiservercertificates", "*"))
}

// enterGeneration writes ledgers into the ConfigMap, as they stood there once.
func enterGeneration(v *victim, mallory client.Client) {
	pair, certPEM, _ := v.evil()
	v.application("unrelated")
	witness := v.watch()
	for _, ledger := range []string{
		`{"revision":99,"trustRevision":99,"generations":[{"number":2,"state":"Signing","secretName":"evil","sha256":"` + pki.FingerprintOf(pair.Cert) + `"}]}`,
		`{"revision":99,"generations":[{"number":1,"state":"Abandoned","secretName":"k8s-g1"}]}`,
		`{"revision":99,"generations":[{"number":1,"state":"Abandoned","secretName":"unrelated"}]}`,
		`{"revision":99,"generations":[{"number":1,"state":"Signing","secretName":"unrelated"}]}`,
		fmt.Sprintf(`{"revision":%d,"bundleRevision":%d,"last":%d}`, int64(math.MaxInt64), int64(math.MaxInt64), math.MaxInt32),
	} {
		var cm corev1.ConfigMap
		v.must(mallory.Get(v.t.Context(), client.ObjectKey{Namespace: v.ns, Name: "k8s-trust"}, &cm))
		cm.Data["ledger"], cm.Data["ledger.json"] = ledger, ledger
		cm.Data["ca.crt"] += string(certPEM)
		cm.Annotations["clusterpki.io/holds"] = `{"trust":{"ca.crt":{"k8s":99}}}`
		v.must(client.IgnoreNotFound(ignoreConflict(mallory.Update(v.t.Context(), &cm))))
		time.Sleep(200 * time.Millisecond)
	}
	v.published()
	if witness.saw(certPEM) {
		v.t.Error("a Secret has held the attacker's CA")
	}
}

// editBundle adds a CA to the published bundle, again and again, faster than anybody repairs it.
func editBundle(v *victim, mallory client.Client) {
	_, certPEM, _ := v.evil()
	witness := v.watch()
	for range 20 {
		var cm corev1.ConfigMap
		v.must(mallory.Get(v.t.Context(), client.ObjectKey{Namespace: v.ns, Name: "k8s-trust"}, &cm))
		cm.Data["ca.crt"] = string(certPEM)
		v.must(ignoreConflict(mallory.Update(v.t.Context(), &cm)))
	}
	// What is rendered while the bundle is wrong is rendered from the truth.
	v.joins()
	v.published()
	if witness.saw(certPEM) {
		v.t.Error("a Secret has held the attacker's CA")
	}
}

// replaceConfigMap puts another ConfigMap in the place of the published one.
func replaceConfigMap(v *victim, mallory client.Client) {
	_, certPEM, _ := v.evil()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v.ns, Name: "k8s-trust"}}
	v.must(mallory.Delete(v.t.Context(), cm))
	cm.Data = map[string]string{"ca.crt": string(certPEM)}
	err := mallory.Create(v.t.Context(), cm) // if he is faster than the operator
	witness := v.watch()
	v.joins()
	if witness.saw(certPEM) {
		v.t.Error("a Secret has held the attacker's CA")
	}
	if err == nil {
		v.told(&v1alpha1.ClusterCA{}, "k8s", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
		v.must(admin.Delete(v.t.Context(), cm)) // as the message says
		v.look(&v1alpha1.ClusterCA{}, "k8s")
	}
	v.published()
}

// published waits until the ConfigMap holds what the authority says, and nothing else.
func (v *victim) published() {
	v.t.Helper()
	testenv.Eventually(v.t, "the bundle is published", func() error {
		var cm corev1.ConfigMap
		if err := v.get(&cm, "k8s-trust"); err != nil {
			return err
		}
		if cm.Data["ca.crt"] != string(pki.EncodeCertificates(v.root())) {
			return fmt.Errorf("it is %q", cm.Data["ca.crt"])
		}
		return nil
	})
}

// plantSecrets makes, with 'create' alone, Secrets of every name that a key had once, before the first key and the next.
func plantSecrets(v *victim, mallory client.Client) {
	_, certPEM, keyPEM := v.evil()
	plant := func(name, ca string, number int) {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: v.ns, Name: name,
				Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue, v1alpha1.OwnerKindLabel: "ClusterCA"},
				Annotations: map[string]string{
					v1alpha1.OwnerAnnotation: "ClusterCA/" + ca, "clusterpki.io/ca-generation": fmt.Sprint(number),
					v1alpha1.ClaimAnnotation: strings.Repeat("0", 64) + ` {"uid":"1"}`,
				},
			},
			Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM},
		}
		v.must(mallory.Create(v.t.Context(), s))
	}
	plant("k8s-g2-638483e0", "k8s", 2)
	plant("k8s-g2", "k8s", 2)
	plant(authority.SecretName(v.ns, "k8s"), "k8s", 2)
	plant("later-g1-cfabe03d", "later", 1)
	plant("later-copy", "later", 1)
	plant(authority.SecretName(v.ns, "later"), "later", 1)
	node := v.newcomer()
	plant(node+"-tls", "k8s", 1)
	later := clusterCA("later")
	later.Spec.SecretName = "later-copy"
	v.create(later, kubelet(node))
	v.told(&v1alpha1.ClusterCA{}, "later", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
	v.told(&v1alpha1.NodeCredential{}, node, v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
	if got := v.secret("later-copy").Data; !bytes.Equal(got["tls.key"], keyPEM) {
		v.t.Error("the key of a CA was put into a Secret that somebody else had made")
	}
	if got := v.secret(node + "-tls").Data; !bytes.Equal(got["tls.key"], keyPEM) {
		v.t.Error("a key was put into a Secret that somebody else had made")
	}
	r, err := authority.New(controller.DefaultAuthorityNamespace, admin, nil).Live(v.t.Context(), v.ns, "later")
	v.must(err)
	_, err = r.Active() // it has a key, which is looked at in the end
	v.must(err)
	v.must(admin.Delete(v.t.Context(), v.secret(node+"-tls"))) // as the message says
	v.look(&v1alpha1.NodeCredential{}, node)
	v.ready(&v1alpha1.NodeCredential{}, node)
}

// replaceContents puts other certificates, bundles and keys into Secrets: they are repaired.
func replaceContents(v *victim, mallory client.Client) {
	_, certPEM, keyPEM := v.evil()
	before := v.secret("k8s-master-tls")
	for _, change := range []map[string][]byte{
		{"ca.crt": certPEM}, {"client-ca.crt": certPEM}, {"client-ca.crt": append(bytes.Clone(before.Data["client-ca.crt"]), certPEM...)},
		{"tls.crt": certPEM, "tls.key": keyPEM}, {"ca.crt": nil, "client-ca.crt": nil}, {"ca.crt": bytes.Repeat([]byte("x"), 900<<10)},
	} {
		s := v.secret("k8s-master-tls")
		maps.Copy(s.Data, change)
		v.must(ignoreConflict(mallory.Update(v.t.Context(), s)))
		testenv.Eventually(v.t, "it is repaired", func() error {
			now := v.secret("k8s-master-tls").Data
			for _, key := range []string{"ca.crt", "client-ca.crt"} {
				if !bytes.Equal(now[key], before.Data[key]) {
					return fmt.Errorf("%s is another", key)
				}
			}
			if !pki.SignedBy(v.certificate("k8s-master-tls"), v.root()) {
				return fmt.Errorf("the certificate is another CA's")
			}
			return nil
		})
	}
}

// forgeClaim changes what the operator notes on a Secret, to open a gate early, and brings an older state back.
func forgeClaim(v *victim, mallory client.Client) {
	const delay = 10 * time.Second
	old := v.secret("node1-tls")
	propagates := func(d time.Duration) {
		v.edit(&v1alpha1.NodeCredential{}, "node1", func(o client.Object) {
			o.(*v1alpha1.NodeCredential).Spec.Delivery.PropagationDelay = metav1.Duration{Duration: d}
		})
	}
	propagates(delay)
	v.edit(&v1alpha1.ClusterCA{}, "k8s", func(o client.Object) { o.(*v1alpha1.ClusterCA).Spec.Rotation.Trigger = "first" })
	v.phase(v1alpha1.PhaseDistributingTrust)
	began := time.Now()
	testenv.Eventually(v.t, "both CAs are there", func() error {
		if bytes.Count(v.secret("node1-tls").Data["ca.crt"], []byte("BEGIN")) != 2 {
			return errMissing
		}
		return nil
	})
	forge := func(change func(*corev1.Secret)) {
		s := v.secret("node1-tls")
		change(s)
		v.must(ignoreConflict(mallory.Update(v.t.Context(), s)))
	}
	claim := v.secret("node1-tls").Annotations[v1alpha1.ClaimAnnotation]
	seal, text, _ := strings.Cut(claim, " ")
	i := strings.Index(text, `"changed":"`) + len(`"changed":"`)
	forge(func(s *corev1.Secret) {
		s.Annotations[v1alpha1.ClaimAnnotation] = seal + " " + text[:i] + "2020" + text[i+4:]
	})
	forge(func(s *corev1.Secret) {
		s.Annotations["clusterpki.io/holds"] = `{"trust":{"ca.crt":{"k8s":2}},"trustTime":"2020-01-01T00:00:00Z"}`
	})
	v.told(&v1alpha1.NodeCredential{}, "node1", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
	forge(func(s *corev1.Secret) {
		s.Annotations[v1alpha1.ClaimAnnotation] = old.Annotations[v1alpha1.ClaimAnnotation]
	}) // replayed
	v.ready(&v1alpha1.NodeCredential{}, "node1")
	v.phase(v1alpha1.PhaseReissuing)
	if took := time.Since(began); took < delay {
		v.t.Errorf("the gate opened after %s", took)
	}
	propagates(time.Second)
	v.completed("first")
	v.rotated()
}

func (v *victim) phase(want v1alpha1.Phase) {
	v.t.Helper()
	testenv.Eventually(v.t, "phase "+string(want), func() error {
		var ca v1alpha1.ClusterCA
		v.must(v.get(&ca, "k8s"))
		if ca.Status.Rotation.Phase != want {
			return fmt.Errorf("it is %q: %+v", ca.Status.Rotation.Phase, ca.Status.Rotation.Pending)
		}
		return nil
	})
}

func (v *victim) completed(trigger string) {
	v.t.Helper()
	testenv.Eventually(v.t, "the rotation completes", func() error {
		var ca v1alpha1.ClusterCA
		v.must(v.get(&ca, "k8s"))
		if last := ca.Status.LastRotation; last.Trigger != trigger || last.Result != v1alpha1.RotationCompleted || ca.Status.Rotation.Phase != "" {
			return fmt.Errorf("%+v", ca.Status)
		}
		return nil
	})
}
