package outputs_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/outputs"
)

// TestForms: each form has the name, type, labels and keys that its program looks for.
func TestForms(t *testing.T) {
	of := func(values ...string) map[string][]byte {
		out := map[string][]byte{}
		for i := 0; i < len(values); i += 2 {
			out[values[i]] = []byte(values[i+1])
		}
		return out
	}
	capi := func(name string, data map[string][]byte) outputs.Form {
		return outputs.Form{Format: "CAPI", Name: name, Type: "cluster.x-k8s.io/secret", Labels: map[string]string{"cluster.x-k8s.io/cluster-name": "c"}, Data: data}
	}
	kamaji := func(name string, data map[string][]byte) outputs.Form {
		return outputs.Form{Format: "Kamaji", Name: name, Type: corev1.SecretTypeOpaque, Data: data}
	}
	ca := func(format v1alpha1.OutputFormat, purpose v1alpha1.AuthorityPurpose) outputs.Form {
		return outputs.OfCA(v1alpha1.CAOutput{Format: format, ClusterName: "c", Purpose: purpose}, []byte("crt"), []byte("key"))
	}
	keys := func(format v1alpha1.OutputFormat) outputs.Form {
		return outputs.OfKeys(v1alpha1.KeyOutput{Format: format, ClusterName: "c"}, []byte("key"), []byte("pub"))
	}
	credential := func(format v1alpha1.OutputFormat) v1alpha1.CredentialOutput {
		return v1alpha1.CredentialOutput{Format: format, ClusterName: "c"}
	}
	pair, both := of("tls.crt", "crt", "tls.key", "key"), of("tls.crt", "crt", "tls.key", "key", "ca.crt", "crt", "ca.key", "key")
	for name, tc := range map[string]struct{ got, want outputs.Form }{
		"Cluster API's CA":              {ca("CAPI", "Cluster"), capi("c-ca", pair)},
		"Cluster API's CA of etcd":      {ca("CAPI", "Etcd"), capi("c-etcd", pair)},
		"Cluster API's CA of the proxy": {ca("CAPI", "FrontProxy"), capi("c-proxy", pair)},
		"Cluster API's keys":            {keys("CAPI"), capi("c-sa", of("tls.crt", "pub", "tls.key", "key"))},
		"Cluster API's kubeconfig":      {outputs.OfKubeconfig(credential("CAPI"), "Admin", []byte("text")), capi("c-kubeconfig", of("value", "text"))},
		"Cluster API's client of etcd": {
			outputs.OfPair(credential("CAPI"), "EtcdClient", []byte("crt"), []byte("key")), capi("c-apiserver-etcd-client", pair),
		},
		"Kamaji's CA":              {ca("Kamaji", "Cluster"), kamaji("c-ca", both)},
		"Kamaji's CA of the proxy": {ca("Kamaji", "FrontProxy"), kamaji("c-front-proxy-ca-certificate", both)},
		"Kamaji's keys":            {keys("Kamaji"), kamaji("c-sa-certificate", of("sa.pub", "pub", "sa.key", "key"))},
		"Flux's kubeconfig": {outputs.OfKubeconfig(credential("Flux"), "Admin", []byte("text")), outputs.Form{
			Format: "Flux", Name: "c-flux", Type: corev1.SecretTypeOpaque, Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}, Data: of("value", "text"),
		}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestArgoCDCluster: Argo CD's form embeds everything, and verifies the server.
func TestArgoCDCluster(t *testing.T) {
	f, err := outputs.ArgoCDCluster{
		Name: "c", Server: "https://k8s:6443", ServerName: "k8s.local", CA: []byte("ca"), Cert: []byte("crt"), Key: []byte("key"),
	}.Form("c-argocd")
	if err != nil {
		t.Fatal(err)
	}
	var config any
	if err := json.Unmarshal(f.Data["config"], &config); err != nil {
		t.Fatal(err)
	}
	in := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	want := any(map[string]any{"tlsClientConfig": map[string]any{
		"insecure": false, "serverName": "k8s.local", "caData": in("ca"), "certData": in("crt"), "keyData": in("key"),
	}})
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
	if f.Labels["argocd.argoproj.io/secret-type"] != "cluster" || string(f.Data["name"]) != "c" || string(f.Data["server"]) != "https://k8s:6443" || len(f.Data) != 3 {
		t.Errorf("%v, %d keys", f.Labels, len(f.Data))
	}
}

// TestMarks: an output says that it is one, so that no rotation waits for it; Kamaji controls its own.
func TestMarks(t *testing.T) {
	for format, want := range map[v1alpha1.OutputFormat][2]bool{"": {true, false}, "CAPI": {true, false}, "Kamaji": {false, true}} {
		m := outputs.Form{Format: format}.Marks(consumers.Claim{}, true)
		if got := [2]bool{m.Controlled, m.Shared}; got != want || m.Claim.Output != string(format) {
			t.Errorf("%q: controlled, and shared: %v, %q", format, got, m.Claim.Output)
		}
	}
}

// TestDistinct: no Secret is to hold two things.
func TestDistinct(t *testing.T) {
	k := &v1alpha1.ServiceAccountKey{}
	k.Name, k.Spec.Outputs = "prod-sa", []v1alpha1.KeyOutput{{Format: "CAPI", ClusterName: "prod"}}
	if outputs.Distinct(k) == nil {
		t.Error("the keys, and Cluster API's form of them, would be in one Secret")
	}
	k.Spec.SecretName = "prod-sa-keys"
	if err := outputs.Distinct(k); err != nil {
		t.Error(err)
	}
}
