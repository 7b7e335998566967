package attacks_test

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// takeOver lets older objects name the Secrets of others.
func takeOver(v *victim, mallory client.Client) {
	v.create(kubelet("elder"), server("elder-master"))
	v.ready(&v1alpha1.NodeCredential{}, "elder")
	v.ready(&v1alpha1.APIServerCertificate{}, "elder-master")
	younger := server("younger")
	given.SignedBy("younger-sa")(younger)
	v.create(given.AccountKey("younger-sa"), younger)
	v.ready(&v1alpha1.ServiceAccountKey{}, "younger-sa")
	v.ready(&v1alpha1.APIServerCertificate{}, "younger")
	application := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "application"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": {}, "tls.key": {}}}
	v.create(application)
	kept := map[string]*corev1.Secret{}
	for _, name := range []string{"younger-tls", "younger-sa", "application"} {
		kept[name] = v.secret(name)
	}
	for name, before := range kept {
		elder, server := &v1alpha1.NodeCredential{}, &v1alpha1.APIServerCertificate{}
		elder.Namespace, elder.Name, server.Namespace, server.Name = v.ns, "elder", v.ns, "elder-master"
		testenv.Edit(v.t, mallory, elder, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = name }) // the operator writes meanwhile
		testenv.Edit(v.t, mallory, server, func(c *v1alpha1.APIServerCertificate) { c.Spec.SecretName = name })
		v.told(&v1alpha1.NodeCredential{}, "elder", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
		v.told(&v1alpha1.APIServerCertificate{}, "elder-master", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
		if now := v.secret(name); now.ResourceVersion != before.ResourceVersion {
			v.t.Errorf("Secret %s was written", name)
		}
	}
	for _, o := range []client.Object{&v1alpha1.NodeCredential{}, &v1alpha1.APIServerCertificate{}} {
		o.SetNamespace(v.ns)
		o.SetName(map[bool]string{true: "elder", false: "elder-master"}[func() bool { _, ok := o.(*v1alpha1.NodeCredential); return ok }()])
		v.must(admin.Delete(v.t.Context(), o))
	}
	for _, name := range []string{"elder-tls", "elder-kubeconfig", "elder-master-tls"} { // nothing collects garbage here
		v.must(client.IgnoreNotFound(admin.Delete(v.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v.ns, Name: name}})))
	}
}

// nameTheCAs lets new objects name what the CA's next key, its bundle or its copy could need.
func nameTheCAs(v *victim, mallory client.Client) {
	for i, name := range []string{"k8s-trust", "k8s-generation-2", "ledger.json", authority.SealSecretName} {
		c := kubelet(fmt.Sprintf("claimer%d", i))
		c.Namespace, c.Spec.SecretName, c.Spec.Kubeconfig, c.Spec.APIServerRef = v.ns, name, nil, nil
		v.must(mallory.Create(v.t.Context(), c))
		v.ready(&v1alpha1.NodeCredential{}, c.Name)
	}
	copier := clusterCA("copier")
	copier.Namespace, copier.Spec.SecretName = v.ns, "k8s-master-tls"
	v.must(mallory.Create(v.t.Context(), copier))
	v.told(&v1alpha1.ClusterCA{}, "copier", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
}

// importForeign imports the key of another CA, and changes the Secret of an imported one.
func importForeign(v *victim, mallory client.Client) {
	r, err := authority.New(controller.DefaultAuthorityNamespace, admin, nil).Live(v.t.Context(), v.ns, "k8s")
	v.must(err)
	active, err := r.Active()
	v.must(err)
	key, err := active.Key.Reveal()
	v.must(err)
	stolen := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.ns, Name: "stolen"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": active.CertPEM(), "tls.key": key},
	}
	v.must(mallory.Create(v.t.Context(), stolen)) // whoever has the key; the operator does not help him
	imported := func(name, secret string, pair pki.CA) *v1alpha1.ClusterCA {
		ca := clusterCA(name)
		ca.Namespace = v.ns
		given.ImportedFrom(secret, pki.FingerprintOf(pair.Cert))(ca)
		return ca
	}
	v.must(mallory.Create(v.t.Context(), imported("twin", "stolen", active)))
	v.told(&v1alpha1.ClusterCA{}, "twin", v1alpha1.StalledCondition, v1alpha1.ReasonKeyInUse)

	pair, certPEM, keyPEM := evil(v.t)
	own := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM}}
	v.create(own, imported("adopted", "own", pair))
	v.ready(&v1alpha1.ClusterCA{}, "adopted")
	before := v.authority("adopted")
	_, certPEM, keyPEM = v.evil()
	own.Data = map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM}
	v.must(mallory.Update(v.t.Context(), own))
	v.edit(&v1alpha1.ClusterCA{}, "adopted", func(o client.Object) {
		metav1.SetMetaDataAnnotation(&o.(*v1alpha1.ClusterCA).ObjectMeta, "look", "again")
	})
	time.Sleep(time.Second)
	if after := v.authority("adopted"); !bytes.Equal(after["ledger.json"], before["ledger.json"]) {
		v.t.Error("another key was taken from the Secret of an imported CA")
	}
}

// reachForAuthority tries what nobody of a namespace may do.
func reachForAuthority(v *victim, mallory client.Client) {
	name := authority.SecretName(v.ns, "k8s")
	var s corev1.Secret
	if err := mallory.Get(v.t.Context(), client.ObjectKey{Namespace: controller.DefaultAuthorityNamespace, Name: name}, &s); !isForbidden(err) {
		v.t.Errorf("somebody of another namespace reads there: %v", err)
	}
	planted := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: controller.DefaultAuthorityNamespace, Name: authority.SecretName(v.ns, "next")}}
	if err := mallory.Create(v.t.Context(), planted); !isForbidden(err) {
		v.t.Errorf("somebody of another namespace writes there: %v", err)
	}
}

// plantServiceAccountKey makes the Secret of service account keys before the operator does: whoever has its key would sign
// tokens of everybody.
func plantServiceAccountKey(v *victim, mallory client.Client) {
	_, certPEM, keyPEM := v.evil()
	planted := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.ns, Name: "tokens"}, Data: map[string][]byte{"sa.key": keyPEM, "sa.pub": certPEM},
	}
	v.must(mallory.Create(v.t.Context(), planted))
	v.create(given.AccountKey("tokens"))
	v.told(&v1alpha1.ServiceAccountKey{}, "tokens", v1alpha1.StalledCondition, v1alpha1.ReasonSecretConflict)
	// Nor does the operator take keys over that are not the ones which the object names.
	v.create(given.AccountKey("taken", func(k *v1alpha1.ServiceAccountKey) {
		k.Spec.Source = &v1alpha1.ServiceAccountKeySource{Import: &v1alpha1.ServiceAccountKeyImport{
			SecretRef: v1alpha1.SecretReference{Name: "tokens"}, PublicKeysSHA256: strings.Repeat("0", 64),
		}}
	}))
	v.told(&v1alpha1.ServiceAccountKey{}, "taken", v1alpha1.StalledCondition, v1alpha1.ReasonImportInvalid)
}
