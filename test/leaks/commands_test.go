package leaks_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// output runs a command of which the next step needs what it prints.
func (r *run) output(args ...string) []byte {
	r.t.Helper()
	cmd := r.clusterpki(r.t.Context(), r.admin(), args...)
	out := &bytes.Buffer{}
	cmd.Stdout = io.MultiWriter(cmd.Stdout, out)
	if err := cmd.Run(); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.t.Fatalf("clusterpki %v: %v\n%s", args, err, r.said["clusterpki "+strings.Join(args, " ")])
	}
	return out.Bytes()
}

// acknowledgments acknowledges what was carried to a host, with the mistakes that people make, among them a key instead of a certificate.
func (r *run) acknowledgments() {
	r.t.Helper()
	out := filepath.Join(r.dir, "to-"+handHost)
	r.output("export", "-n", namespace, "--host="+handHost, "--out="+out, "--directory="+out)
	at := func(file string) string { return filepath.Join(out, file) }
	own := []string{"acknowledge", "nodecred/own-by-hand", "-n", namespace, "--tls-crt", at("pki/kubelet-client.crt"), "--ca-crt", at("pki/ca.crt"), "--installed-kubeconfig", at("kubelet.conf")}
	carried := []string{"acknowledge", "nodecred/carried", "-n", namespace, "--tls-crt", at("pki/kube-proxy.crt"), "--ca-crt", at("pki/ca.crt"), "--installed-kubeconfig", at("kube-proxy.embedded.conf")}
	key := at("pki/kube-proxy.key")
	for i, value := range carried {
		if i > 1 && !strings.HasPrefix(value, "-") && value != namespace { // a file
			r.command(slices.Replace(slices.Clone(carried), i, i+1, key)...)
		}
	}
	r.command(append(slices.Clone(own), "--dry-run")...)
	for _, args := range [][]string{own, carried} {
		r.output(args...)
	}
}

// commands runs every command that reads, in every form of its output, and those that write what they read.
func (r *run) commands() {
	r.t.Helper()
	for _, form := range []string{"text", "wide", "json", "yaml"} {
		r.command("status", "-A", "-o", form)
		for _, o := range []string{"clusterca/imported", "clusterca/below", "clusterca/key-cut", "asc/k8s-master", "nodecred/rsa", "nodecred/key-alone",
			"secret/k8s-master-tls", "secret/copied", "secret/offline", "secret/k8s-sa", "secret/rsa-kubeconfig", "secret/output-sa", "secret/output-ca"} {
			r.command("inspect", "-n", namespace, o, "-o", form)
		}
	}
	r.command("version")
	r.command("__complete", "inspect", "-n", namespace, "secret/")
	r.command("rotate", "-n", namespace, "below")
	r.command("renew", "-n", namespace, "nodecred/rsa")
	r.command("explain", "-f", filepath.Join(testenv.Root(), "config", "samples", "clusterpki", "ha.yaml"))
	for _, form := range []string{"text", "json", "yaml"} {
		r.command("authority", "list", "-o", form)
	}
	r.command("export", "-n", namespace, "--host=k8s-master", "--out="+filepath.Join(r.dir, "k8s-master"))
	r.command("backup", "-n", namespace, "--out="+filepath.Join(r.dir, "backup.yaml"))
	r.command("backup", "-n", namespace, "--without-keys", "--out="+filepath.Join(r.dir, "public.yaml"))
	for _, name := range []string{"backup.yaml", "agent.yaml"} {
		r.command("inspect", "-f", filepath.Join(r.dir, name))
	}
	public, err := os.ReadFile(filepath.Join(r.dir, "public.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(r.sink("a backup without keys"), "%s", public)
}

// restored restores the backup over what is there, from half of a file, and into a namespace of another name.
func (r *run) restored() {
	r.t.Helper()
	backup := filepath.Join(r.dir, "backup.yaml")
	whole, err := os.ReadFile(backup)
	if err != nil {
		r.t.Fatal(err)
	}
	r.command("restore", backup)
	r.command("restore", backup, "--replace="+namespace+"/k8s")
	r.command("restore", r.file("damaged.yaml", whole[:len(whole)/2]))
	r.kubectl("create", "namespace", "drill")
	r.output("restore", backup, "--namespace="+namespace+"=drill")
}

// retained has a CA outlive its namespace, gives it to another one of that name, and destroys it in the end.
func (r *run) retained() {
	r.t.Helper()
	const anew = "anew"
	ca := given.CA("k8s")
	ca.Namespace = anew
	made := func() {
		r.kubectl("create", "namespace", anew)
		if err := shared.api.Create(r.t.Context(), ca.DeepCopy()); err != nil {
			r.t.Fatal(err)
		}
	}
	gone := func() {
		if err := shared.api.Delete(r.t.Context(), ca.DeepCopy()); err != nil {
			r.t.Fatal(err)
		}
		testenv.Eventually(r.t, "the CA is deleted", func() error {
			if err := shared.api.Get(r.t.Context(), client.ObjectKeyFromObject(ca), ca.DeepCopy()); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
	}
	made()
	testenv.Ready(r.t, shared.api, ca.DeepCopy())
	gone()
	r.kubectl("delete", "namespace", anew, "--wait=false")
	r.kubectl("replace", "--raw", "/api/v1/namespaces/"+anew+"/finalize", "-f", r.file("finalize.json", []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"anew"}}`)))
	made()
	testenv.Condition(r.t, shared.api, ca.DeepCopy(), v1alpha1.StalledCondition, "True", v1alpha1.ReasonAuthorityRetained)
	r.command("authority", "list")
	r.output("authority", "release", anew+"/k8s")
	testenv.Ready(r.t, shared.api, ca.DeepCopy())
	r.command("authority", "release", "-n", "drill", "--all")
	r.command("authority", "release", "-A")
	r.command("authority", "delete", anew+"/k8s", "--yes")
	gone()
	r.command("authority", "delete", anew+"/k8s")
	r.output("authority", "delete", anew+"/k8s", "--yes", "--tombstone")
	r.command("authority", "init")
}

// deliveryKeys makes the next delivery key, and has it sign at once.
func (r *run) deliveryKeys() {
	r.t.Helper()
	r.output("authority", "rotate-delivery-key", "-n", namespace)
	r.output("authority", "rotate-delivery-key", "-n", namespace, "--now")
}

// objects collects what everybody may see in the end, who may read the objects, and the files that everybody may read.
func (r *run) objects() {
	r.t.Helper()
	r.kubectl("describe", "pki", "-A")
	r.kubectl("get", "pki,configmaps,leases,events", "-A", "-o", "yaml")
	r.readable(r.dir)
}
