package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/inspect"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// issued is a fixture in which the real operator has issued a small cluster's PKI, and the kubeconfig of an admin.
func issued(t *testing.T) (w *fixture, admin string) {
	t.Helper()
	w = newFixture(t)
	w.operate(0)
	w.create(given.CA("k8s"))
	w.create(given.AccountKey("k8s-sa"))
	w.create(given.Server("k8s-master", given.SignedBy("k8s-sa")))
	w.create(given.Kubelet("node1-kubelet", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent }))
	w.ready(&v1alpha1.ServiceAccountKey{}, "k8s-sa")
	w.ready(&v1alpha1.APIServerCertificate{}, "k8s-master")
	w.ready(&v1alpha1.NodeCredential{}, "node1-kubelet")
	return w, adminKubeconfig(t, cfg.Host)
}

func (w *fixture) ready(o v1alpha1.Object, name string) {
	w.t.Helper()
	o.SetNamespace(w.ns)
	o.SetName(name)
	testenv.Ready(w.t, w.api, o)
}

// as runs a command with another kubeconfig.
func (w *fixture) as(kubeconfig string, args ...string) (string, error) {
	w.t.Helper()
	c := start(w.t, append(args, "--kubeconfig", kubeconfig, "-n", w.ns)...)
	err := c.end()
	return c.out.String(), err
}

// keysOf are lines of the private keys of a namespace, none of which may ever be shown.
func (w *fixture) keysOf() []string {
	w.t.Helper()
	var list corev1.SecretList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.ns)); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, s := range list.Items {
		for key, value := range s.Data {
			if strings.HasSuffix(key, ".key") || key == "value" {
				for line := range strings.SplitSeq(string(value), "\n") {
					if _, data, ok := strings.Cut(line, "client-key-data: "); ok {
						line = data
					} else if key == "value" {
						continue
					}
					if len(line) > 30 && !strings.HasPrefix(line, "-----") {
						out = append(out, line)
					}
				}
			}
		}
	}
	if len(out) < 10 {
		w.t.Fatalf("there are no keys to look for: %d", len(out))
	}
	return out
}

// TestInspectReal looks at what the real operator issued, in every way.
func TestInspectReal(t *testing.T) {
	t.Parallel()
	w, admin := issued(t)
	secrets := w.keysOf()
	var list corev1.SecretList
	if err := w.api.List(t.Context(), &list, client.InNamespace(w.ns)); err != nil {
		t.Fatal(err)
	}
	targets := []string{"clusterca/k8s", "sak/k8s-sa", "asc/k8s-master", "nodecredential/node1-kubelet"}
	for _, s := range list.Items {
		targets = append(targets, "secret/"+s.Name)
	}
	texts := map[string]string{}
	for _, target := range targets {
		for _, format := range []string{"text", "wide", "json", "yaml"} {
			out, err := w.as(admin, "inspect", target, "-o", format)
			if err != nil {
				t.Errorf("%s: %v\n%s", target, err, out)
			}
			for _, key := range secrets {
				if strings.Contains(out, key) {
					t.Fatalf("%s -o %s shows a private key", target, format)
				}
			}
			texts[target+" "+format] = out
		}
	}
	for target, wants := range map[string][]string{
		"clusterca/k8s text": {
			"ClusterCA/k8s in " + w.ns + "  Ready", "✓ Ready is True: Issued", "ConfigMap/k8s-trust of ClusterCA/k8s", "(generation 1), until ",
		},
		"asc/k8s-master text": {
			"identity     k8s-master", "generation 1 of ClusterCA/k8s", "10.1.10.238", "serverAuth", "leads to ", " in ConfigMap/k8s-trust, signed by generation 1 of ClusterCA/k8s",
			"fits tls.crt; not shown", "signed and accepted with the keys of ServiceAccountKey/k8s-sa",
		},
		"sak/k8s-sa text": {"key 1        Active, kid ", "Secret/k8s-sa of ServiceAccountKey/k8s-sa", "fits sa.pub; not shown", "used by      APIServerCertificate/k8s-master"},
		"nodecredential/node1-kubelet text": {
			"system:node:k8s-node1, role Kubelet, on k8s-node1", "CN=system:node:k8s-node1,O=system:nodes", "clientAuth", "mode         Agent",
			"agent        Lease expired; last renewed never", "not all that is issued", "→ install the agent on the host and start it", "k8s-master:6443", "fits client-certificate-data; not shown",
			"key file     /etc/kubernetes/", "warning",
		},
		"secret/k8s-master-tls text": {"Secret/k8s-master-tls of APIServerCertificate/k8s-master", "signed by generation 1 of ClusterCA/k8s"},
	} {
		for _, want := range wants {
			if !strings.Contains(texts[target], want) {
				t.Errorf("%q is missing in %s\n%s", want, target, texts[target])
			}
		}
	}
	var r inspect.Report
	if err := json.Unmarshal([]byte(texts["asc/k8s-master json"]), &r); err != nil || r.Kind != "Inspection" || r.Object.Kind != "APIServerCertificate" ||
		r.Object.NotAfter.Before(time.Now()) || len(r.Sources) != 1 || r.Sources[0].Items[0].Name == "" {
		t.Errorf("%v\n%s", err, texts["asc/k8s-master json"])
	}
	w.inspectWithoutSecrets()
	w.inspectTampered(admin)
}

// inspectWithoutSecrets is for somebody who may read no Secret, no Lease and no event.
func (w *fixture) inspectWithoutSecrets() {
	w.t.Helper()
	out, err := w.run("inspect", "nodecred/node1-kubelet")
	if ExitCode(err) != 0 {
		w.t.Error(err)
	}
	for _, want := range []string{
		"system:node:k8s-node1", "generation 1 of ClusterCA/k8s", "Lease/node1-kubelet-tls: you may not read it: that needs the right to get leases",
		"the events: you may not read it", "Secret/node1-kubelet-tls\n  not read     you may not read it: that needs the right to get secrets",
	} {
		if !strings.Contains(out, want) {
			w.t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if out, err := w.run("inspect", "secret/node1-kubelet-tls"); ExitCode(err) != 1 || !strings.Contains(err.Error(), "the ClusterRole view does not allow to read Secrets") {
		w.t.Error(err, out)
	}
	for args, want := range map[string]string{
		"clusterca/k8ss":            `there is no ClusterCA "k8ss" in namespace "` + w.ns + `"; did you mean k8s?`,
		"clusterca/node1-kubelet":   "did you mean nodecredential/node1-kubelet?",
		"nodecred node2-kubelet":    "did you mean node1-kubelet?",
		"nodecredential/zzz":        "; there is node1-kubelet",
		"clustercas.clusterpki.io/": "name one ClusterCA, as in clustercas/NAME",
		"nodecredd/x":               `there is no kind "nodecredd"; there is clusterca, `,
		"node1-kubelet":             `there is no kind "node1-kubelet"`,
		"":                          "name an object, as in clusterca/k8s, or a file with -f",
		"clusterca/k8s -f x":        "leave out one of them",
	} {
		if out, err := w.run(append([]string{"inspect"}, strings.Fields(args)...)...); ExitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			w.t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// inspectTampered finds what does not fit.
func (w *fixture) inspectTampered(admin string) {
	w.t.Helper()
	var master corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: "k8s-master-tls"}, &master); err != nil {
		w.t.Fatal(err)
	}
	var node corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: "node1-kubelet-tls"}, &node); err != nil {
		w.t.Fatal(err)
	}
	mixed := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mixed"}, Data: map[string][]byte{"tls.crt": master.Data["tls.crt"], "tls.key": node.Data["tls.key"]}}
	w.create(mixed)
	if out, err := w.as(admin, "inspect", "secret", "mixed"); ExitCode(err) != 2 || !strings.Contains(out, "error  KeyMismatch: Secret/mixed tls.key: the private key fits no certificate") {
		w.t.Error(err, out)
	}
	if _, err := w.as(admin, "inspect", "secret/gone"); ExitCode(err) != 1 || !strings.Contains(err.Error(), `there is no Secret "gone" in namespace`) {
		w.t.Error(err)
	}
	dir := w.t.TempDir()
	var args []string
	for name, data := range map[string][]byte{"tls.crt": node.Data["tls.crt"], "tls.key": node.Data["tls.key"], "ca.crt": node.Data["ca.crt"]} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			w.t.Fatal(err)
		}
		args = append(args, "-f", path)
	}
	c := start(w.t, append([]string{"inspect"}, args...)...)
	if err := c.end(); err != nil || !strings.Contains(c.out.String(), " in the files") || !strings.Contains(c.out.String(), "fits "+filepath.Join(dir, "tls.crt")) {
		w.t.Error(err, c.out.String())
	}
}
