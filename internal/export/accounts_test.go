package export

import (
	"crypto"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki/keyring"
)

// find finds what was made for a test.
func find[T client.Object](w *fixture, name string) T {
	w.t.Helper()
	for _, o := range w.objects {
		if of, ok := o.(T); ok && o.GetName() == name {
			return of
		}
	}
	panic("there is no " + name)
}

// TestServiceAccountKeys: the host of an API server gets the keys that its ServiceAccountKey publishes, as they are.
func TestServiceAccountKeys(t *testing.T) {
	w := cluster(t)
	files, _ := w.lay("k8s-master", "/srv/k8s")
	secret := find[*corev1.Secret](w, "k8s-sa")
	for name, key := range map[string]string{"pki/sa.key": "sa.key", "pki/sa.pub": "sa.pub"} {
		if string(files[name].Data) != string(secret.Data[key]) {
			t.Errorf("%s is not what the Secret has", name)
		}
	}
	if files["pki/sa.key"].Mode != 0o600 {
		t.Errorf("sa.key has mode %v", files["pki/sa.key"].Mode)
	}
	hasFlag(t, files["args/kube-apiserver"], "--service-account-key-file=/srv/k8s/pki/sa.pub")
	hasFlag(t, files["args/kube-apiserver"], "--service-account-signing-key-file=/srv/k8s/pki/sa.key")
	hasFlag(t, files["args/kube-controller-manager"], "--service-account-private-key-file=/srv/k8s/pki/sa.key")
	if node, _ := w.lay("k8s-node1", ""); len(node["pki/sa.pub"].Data) > 0 {
		t.Error("a node gets service account keys")
	}
}

// TestServiceAccountKeyRefusals: keys that are not those of the cluster are not carried to a host.
func TestServiceAccountKeyRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fixture, *v1alpha1.ServiceAccountKey, map[string][]byte)
		want   []string
	}{
		"there is none of that name": {func(_ *fixture, k *v1alpha1.ServiceAccountKey, _ map[string][]byte) { k.Name = "other" },
			[]string{`names ServiceAccountKey "k8s", which does not exist`, "serviceAccountKeyRef"}},
		"it is not ready": {func(_ *fixture, k *v1alpha1.ServiceAccountKey, _ map[string][]byte) {
			k.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SecretConflict", Message: "somebody's"}}
		}, []string{`ServiceAccountKey "k8s" is not Ready: SecretConflict: somebody's`}},
		"its Secret is of a ClusterCA": {func(w *fixture, _ *v1alpha1.ServiceAccountKey, _ map[string][]byte) {
			find[*v1alpha1.ClusterCA](w, "etcd").Spec.SecretName = "k8s-sa"
		}, []string{`ServiceAccountKey "k8s" names Secret "k8s-sa", which holds the key of ClusterCA "etcd"`}},
		"a certificate's Secret is that of the keys": {func(w *fixture, _ *v1alpha1.ServiceAccountKey, _ map[string][]byte) {
			find[*v1alpha1.NodeCredential](w, "k8s-master-Admin").Spec.SecretName = "k8s-sa"
		}, []string{`names Secret "k8s-sa", which holds the keys of ServiceAccountKey "k8s"`}},
		"a certificate's Secret is what was imported": {func(w *fixture, k *v1alpha1.ServiceAccountKey, _ map[string][]byte) {
			k.Spec.Source = &v1alpha1.ServiceAccountKeySource{Import: &v1alpha1.ServiceAccountKeyImport{SecretRef: v1alpha1.SecretReference{Name: "k8s-tls"}}}
			find[*v1alpha1.NodeCredential](w, "k8s-master-Admin").Spec.SecretName = "k8s-tls"
		}, []string{`names Secret "k8s-tls", which holds the keys of ServiceAccountKey "k8s"`}},
		"somebody has added a key": {func(w *fixture, _ *v1alpha1.ServiceAccountKey, data map[string][]byte) {
			evil, _ := w.key()
			data["sa.pub"] = append(data["sa.pub"], publicPEM(t, evil.Public())...)
		}, []string{`Secret "k8s-sa": its sa.pub is not the one that the status of ServiceAccountKey "k8s" names`}},
		"somebody has changed the key that signs": {func(w *fixture, _ *v1alpha1.ServiceAccountKey, data map[string][]byte) {
			_, data["sa.key"] = w.key()
		}, []string{"sa.key is not the private half of the first key of sa.pub"}},
		"a key that is trusted, and does not sign": {func(w *fixture, k *v1alpha1.ServiceAccountKey, data map[string][]byte) {
			next, private := w.key()
			data["sa.key"] = private
			data["sa.pub"] = append(data["sa.pub"], publicPEM(t, next.Public())...)
			k.Status.PublicKeysSHA256 = delivery.DigestOf(data["sa.pub"])
		}, []string{"sa.key is not the private half of the first key of sa.pub"}},
		"there is no private key": {func(_ *fixture, _ *v1alpha1.ServiceAccountKey, data map[string][]byte) { delete(data, "sa.key") },
			[]string{`Secret "k8s-sa" has no "sa.key"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := cluster(t)
			test.change(w, find[*v1alpha1.ServiceAccountKey](w, "k8s"), find[*corev1.Secret](w, "k8s-sa").Data)
			h, err := Gather(t.Context(), clientreader.Reader{Client: w.client()}, namespace, "k8s-master")
			if err == nil {
				_, _, err = Layout(h, "", now)
			}
			if err == nil {
				t.Fatal("it was exported")
			}
			if missing := slices.DeleteFunc(test.want, func(s string) bool { return strings.Contains(err.Error(), s) }); len(missing) > 0 {
				t.Errorf("the error lacks %q: %v", missing, err)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Error("the error holds a key")
			}
		})
	}
}

func publicPEM(t *testing.T, keys ...crypto.PublicKey) []byte {
	t.Helper()
	text, err := keyring.PublicPEM(keys)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
