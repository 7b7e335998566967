package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// onRealServer is an agent beside a real kube-apiserver that was started with three service account keys, and who administers that.
func onRealServer(t *testing.T, keys ...pki.PrivateKey) (*Agent, *testenv.ControlPlane) {
	t.Helper()
	dir := t.TempDir()
	c := kubeletConfig(dir, func(c *Config) {
		c.APIServer = &APIServer{Name: "apiserver", SecretName: "apiserver-tls", ServiceAccountSecretName: "k8s-sa", Endpoint: "https://127.0.0.1"}
		c.Credentials = []Credential{{Name: "manager", Role: "ControllerManager", SecretName: "manager-tls", Kubeconfig: true}}
	})
	files := accountSecret(t, keys...).Data
	started := map[string]string{"service-account-key-file": "sa.pub", "service-account-signing-key-file": "sa.key"}
	for flag, name := range started {
		started[flag] = filepath.Join(dir, name)
		if err := os.WriteFile(started[flag], files[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plane, err := testenv.StartWith(started)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c.APIServer.Endpoint = plane.Config.Host
	a := newEnv(t).restarted(c)
	if err := os.MkdirAll(filepath.Join(c.Directory, "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	lies(t, a, map[string][]byte{hostfiles.CA: plane.Config.CAData})
	as(t, a, plane, "system:kube-controller-manager")
	return a, plane
}

// lies puts files onto the host.
func lies(t *testing.T, a *Agent, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(a.cfg.Directory, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// as gives the host's controller manager the credential of a user.
func as(t *testing.T, a *Agent, plane *testenv.ControlPlane, name string) {
	t.Helper()
	user, err := plane.AddUser(envtest.User{Name: name}, &rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	at := a.objects[1].places()
	lies(t, a, map[string][]byte{at.Certificate: user.Config().CertData, at.Key: user.Config().KeyData})
}

// TestRealAPIServer: what Kubernetes lists, and in which order, and by which key it signs, is what the agent goes by.
func TestRealAPIServer(t *testing.T) {
	first, second := accountKey(t), rsaKey(t)
	third, other := accountKey(t), accountKey(t)
	a, plane := onRealServer(t, first, second, third)
	admin, err := client.New(plane.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	proves := func(keys []pki.PrivateKey, told ...string) {
		t.Helper()
		lies(t, a, map[string][]byte{hostfiles.ServiceAccPub: accountSecret(t, keys...).Data["sa.pub"]})
		says(t, a.proveAccounts(t.Context(), a.objects[0]), told...)
	}
	all := []pki.PrivateKey{first, second, third}
	proves(all, "kube-system/default does not exist yet")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "default"}}
	if err := admin.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	proves(all)
	for _, keys := range [][]pki.PrivateKey{
		{first, third, second}, {second, first, third}, {first, second}, {first, second, third, other}, {first, second, other}, {other, first, second, third},
	} {
		proves(keys, "NotInUse")
	}
	proves(all)
	t.Run("tokens", func(t *testing.T) { listsTokens(t, a, admin) })

	as(t, a, plane, "somebody")
	proves(all, "TargetAccessMissing", "ClusterRole system:kube-controller-manager")
	a.tokens = tokens{}
	a.listTokens(t.Context())
	if a.tokens.list.Listed {
		t.Error("somebody lists Secrets")
	}
	says(t, fmt.Errorf("%s", a.tokens.text), "TargetAccessMissing", "403")
}

func rsaKey(t *testing.T) pki.PrivateKey {
	t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// listsTokens: more than fit into one answer, those of the type alone, and none that was made since.
func listsTokens(t *testing.T, a *Agent, admin client.Client) {
	t.Helper()
	create := func(name string, kind corev1.SecretType) time.Time {
		t.Helper()
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
		}, Type: kind, Data: map[string][]byte{"token": []byte("never read")}}
		if err := admin.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return s.CreationTimestamp.Time
	}
	var want []string
	var last time.Time
	for i := range 230 {
		name := fmt.Sprintf("token-%03d", i)
		last = create(name, corev1.SecretTypeServiceAccountToken)
		want = append(want, "default/"+name)
	}
	create("other", corev1.SecretTypeOpaque)
	a.switchedAt = last.Add(time.Second)
	for time.Now().Before(a.switchedAt) {
		time.Sleep(50 * time.Millisecond)
	}
	if at := create("new", corev1.SecretTypeServiceAccountToken); at.Before(a.switchedAt) {
		t.Fatalf("it was made at %v, and not after %v", at, a.switchedAt)
	}
	a.listTokens(t.Context())
	got := a.tokens.list
	slices.Sort(got.Names)
	if !got.Listed || got.Count != len(want) || !slices.Equal(got.Names, want) {
		t.Errorf("%d are listed of %d, the problem is %q", got.Count, len(want), a.tokens.text)
	}
}
