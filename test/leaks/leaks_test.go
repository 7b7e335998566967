package leaks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	stopAgent := r.agent()
	r.mistakes()
	r.dashboard()
	r.rotate()
	r.commands()
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
	r.make(given.CA("imported", given.ImportedFrom("offline", r.digest(imported)), func(ca *v1alpha1.ClusterCA) { ca.Spec.SecretName = "copied" }))
	r.make(given.CA("below", func(ca *v1alpha1.ClusterCA) {
		ca.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "imported"}}}
		ca.Spec.PrivateKey, ca.Spec.Delivery = algorithms["rsa"], given.Soon(v1alpha1.DeliveryMounted)
	}))
	r.kubectl("patch", "asc", "k8s-master", "-n", namespace, "--type=merge",
		`--patch={"spec":{"clientCARefs":[{"name":"k8s"},{"name":"below"}],"delivery":{"propagationDelay":"1s"}}}`)
	for name, key := range algorithms {
		r.make(given.Kubelet(name, func(n *v1alpha1.NodeCredential) {
			n.Spec.CARef.Name, n.Spec.HostName, n.Spec.PrivateKey, n.Spec.Delivery = "below", "k8s-"+name, key, given.Soon(v1alpha1.DeliveryMounted)
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

// mistakes puts keys where people have put them, and damages what is to be read.
func (r *run) mistakes() {
	r.t.Helper()
	good, other := r.importable(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}), r.importable(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	certificate, key := good[corev1.TLSCertKey], good[corev1.TLSPrivateKeyKey]
	for name, data := range map[string][2][]byte{
		"key-of-another":         {certificate, other[corev1.TLSPrivateKeyKey]},
		"key-in-both":            {key, key},
		"swapped":                {key, certificate},
		"key-before-certificate": {slices.Concat(key, certificate), key},
		"key-cut":                {certificate, key[:len(key)-40]},
		"key-in-one-line":        {certificate, bytes.ReplaceAll(key, []byte("\n"), nil)},
		"key-without-begin":      {certificate, key[30:]},
		"key-with-letters":       {certificate, append([]byte("the key: "), key...)},
		"key-of-a-wrong-type":    {certificate, bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("EC PRIVATE KEY"))},
		"two-keys":               {certificate, slices.Concat(key, other[corev1.TLSPrivateKeyKey])},
	} {
		r.makeSecret("import-"+name, corev1.SecretTypeOpaque, map[string][]byte{corev1.TLSCertKey: data[0], corev1.TLSPrivateKeyKey: data[1]})
		r.make(given.CA(name, given.ImportedFrom("import-"+name, r.digest(good))))
		path := r.file(name, slices.Concat(data[0], data[1]))
		r.command("inspect", "-f", path)
		r.command("inspect", "-n", namespace, "secret/import-"+name)
	}
	// A key in a field that is no place for one: the API server's own answer must not repeat it.
	for name, text := range map[string][]byte{"key-alone": key, "key-before-request": slices.Concat(key, []byte("-----BEGIN CERTIFICATE REQUEST-----\n"))} {
		o := fmt.Sprintf("apiVersion: clusterpki.io/v1alpha1\nkind: NodeCredential\nmetadata: {name: %s}\nspec:\n  caRef: {name: k8s}\n  hostName: k8s-node3\n"+
			"  role: Kubelet\n  keySource: Host\n  request: |\n    %s\n", name, strings.ReplaceAll(string(text), "\n", "\n    "))
		r.kubectl("apply", "-n", namespace, "-f", r.file(name+".yaml", []byte(o)))
	}
	testenv.EventuallyEvery(r.t, time.Second, "each mistake is answered", func() error {
		objects, err := testenv.Objects(r.t.Context(), shared.api, namespace)
		for _, o := range objects {
			if len(*o.StatusConditions()) == 0 {
				return fmt.Errorf("%s has no condition", o.GetName())
			}
		}
		return err
	})
}

// agent runs the agent of a host, which finds no API server and says so, until the function that it returns is called.
func (r *run) agent() (stop func()) {
	r.t.Helper()
	const host = "k8s-node1"
	dir := filepath.Join(r.dir, host)
	for _, name := range []string{"k8s-node1-kubelet", "k8s-node1-kube-proxy", "k8s-node1-kubelet-serving"} {
		r.kubectl("patch", "nodecredential", name, "-n", namespace, "--type=merge", `--patch={"spec":{"delivery":{"mode":"Agent"}}}`)
	}
	r.ready()
	manifests, err := r.output("agent", "manifests", "-n", namespace, "--host", host)
	if err != nil {
		r.t.Fatal(err)
	}
	r.kubectl("apply", "-f", r.file("manifests.yaml", manifests))
	config, err := r.output("agent", "config", "-n", namespace, "--host", host)
	if err != nil {
		r.t.Fatal(err)
	}
	config = regexp.MustCompile(`(?m)^(kubeconfig|directory|stateDirectory): .*\n`).ReplaceAll(config, nil)
	config = fmt.Appendf(config, "kubeconfig: %s\ndirectory: %s\nstateDirectory: %s\n", r.as(namespace, "clusterpki-agent-"+host),
		filepath.Join(dir, "kubernetes"), filepath.Join(dir, "state"))
	stop = r.background("", "agent", "--config", r.file("agent.yaml", config))
	testenv.Eventually(r.t, "the agent has written keys", func() error {
		found, err := filepath.Glob(filepath.Join(dir, "kubernetes", "*", "*.key"))
		if more, _ := filepath.Glob(filepath.Join(dir, "kubernetes", "*.key")); err == nil && len(found)+len(more) == 0 {
			return fmt.Errorf("there is none below %s", dir)
		}
		return err
	})
	return stop
}

// output runs a command of which the next step needs what it prints.
func (r *run) output(args ...string) ([]byte, error) {
	cmd := r.clusterpki(r.t.Context(), r.admin(), args...)
	out := &bytes.Buffer{}
	cmd.Stdout = io.MultiWriter(cmd.Stdout, out)
	if err := cmd.Run(); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return nil, fmt.Errorf("clusterpki %v: %w\n%s", args, err, r.said["clusterpki "+strings.Join(args, " ")])
	}
	return out.Bytes(), nil
}

// dashboard opens the page of the whole namespace, and reads what comes by itself for a while.
func (r *run) dashboard() {
	r.t.Helper()
	address, err := testenv.FreeAddress()
	if err != nil {
		r.t.Fatal(err)
	}
	args := []string{"dashboard", "-n", namespace, "--bind-address=" + address}
	r.background(r.admin(), args...)
	var link string
	testenv.Eventually(r.t, "the dashboard shows its link", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if link = regexp.MustCompile(`http://\S+`).FindString(r.said["clusterpki "+strings.Join(args, " ")].String()); link == "" {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	http.DefaultClient.Jar = jar
	response, err := http.Get(link) // which is good once, even where the page is not ready yet
	if err != nil {
		r.t.Fatal(err)
	}
	_ = response.Body.Close()
	r.get("http://" + address + "/")
	response, err = http.Get("http://" + address + "/events")
	if err != nil {
		r.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(r.sink("the dashboard's events"), response.Body)
	}()
	r.t.Cleanup(func() {
		_ = response.Body.Close()
		<-read
	})
}

func (r *run) get(url string) {
	r.t.Helper()
	testenv.Eventually(r.t, url, func() error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(r.sink(url), response.Body); err != nil || response.StatusCode != http.StatusOK {
			return errors.Join(errors.New(response.Status), err)
		}
		return nil
	})
}

// rotate replaces a CA, with the keys of both generations in use meanwhile.
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
}

// commands runs every command that reads, in every form of its output, and those that write what they read.
func (r *run) commands() {
	r.t.Helper()
	for _, form := range []string{"text", "wide", "json", "yaml"} {
		r.command("status", "-A", "-o", form)
		for _, o := range []string{"clusterca/imported", "clusterca/below", "clusterca/key-cut", "asc/k8s-master", "nodecred/rsa", "nodecred/key-alone",
			"secret/k8s-master-tls", "secret/copied", "secret/offline", "secret/k8s-sa", "secret/rsa-kubeconfig"} {
			r.command("inspect", "-n", namespace, o, "-o", form)
		}
	}
	r.command("rotate", "-n", namespace, "below")
	r.command("authority", "list")
	r.command("export", "-n", namespace, "--host=k8s-master", "--out="+filepath.Join(r.dir, "k8s-master"))
	r.command("backup", "-n", namespace, "--out="+filepath.Join(r.dir, "backup.yaml"))
	r.command("backup", "-n", namespace, "--without-keys", "--out="+filepath.Join(r.dir, "public.yaml"))
	r.command("restore", filepath.Join(r.dir, "backup.yaml"))
	damaged, err := os.ReadFile(filepath.Join(r.dir, "backup.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.command("restore", r.file("damaged.yaml", damaged[:len(damaged)/2]))
	for _, name := range []string{"backup.yaml", "agent.yaml", "manifests.yaml"} {
		r.command("inspect", "-f", filepath.Join(r.dir, name))
	}
	public, err := os.ReadFile(filepath.Join(r.dir, "public.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(r.sink("a backup without keys"), "%s", public)
	r.kubectl("describe", "pki", "-A")
	r.kubectl("get", "pki,configmaps,leases,events", "-A", "-o", "yaml")
	r.readable(r.dir)
}

// answered is an audit log without what was sent and refused: there stands the mistake as it was made.
func (r *run) answered(log []byte) []byte {
	r.t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(log) {
		var event struct {
			ResponseStatus struct{ Code int }
			RequestObject  json.RawMessage
		}
		if err := json.Unmarshal(line, &event); err != nil {
			r.t.Fatal(err)
		}
		if event.ResponseStatus.Code >= http.StatusBadRequest && len(event.RequestObject) > 0 {
			line = bytes.Replace(line, event.RequestObject, []byte("{}"), 1)
		}
		out.Write(line)
	}
	return out.Bytes()
}

// search looks for every key in everything.
func (r *run) search() {
	r.t.Helper()
	audit, err := os.ReadFile(shared.audit)
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(r.sink("the audit log"), "%s", r.answered(audit))
	r.mu.Lock()
	defer r.mu.Unlock()
	size := 0
	for _, source := range slices.Sorted(maps.Keys(r.said)) {
		text := r.said[source].Bytes()
		size += len(text)
		for _, found := range r.keys.in(text) {
			r.t.Errorf("%s shows the key of %s", source, found)
		}
	}
	r.t.Logf("looked for %d keys in %d sources of %d bytes", len(r.keys.names), len(r.said), size)
	for _, want := range []string{home + "/ca.prod.k8s", home + "/ca.prod.below", "prod/k8s-sa", "prod/rsa-tls", "prod/ed25519-tls"} {
		if !slices.ContainsFunc(slices.Collect(maps.Values(r.keys.names)), func(name string) bool { return strings.HasPrefix(name, want) }) {
			r.t.Errorf("no key of Secret %s was looked for", want)
		}
	}
	for _, want := range []string{"Event", "configmaps", "leases", "conditions"} {
		if !bytes.Contains(audit, []byte(want)) {
			r.t.Errorf("the audit log holds no %s", want)
		}
	}
}
