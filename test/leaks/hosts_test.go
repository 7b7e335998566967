package leaks_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

const (
	agentHost = "k8s-node1" // whose files an agent installs
	handHost  = "k8s-node9" // whose files a person carries
)

// byHand makes the credentials of a host that files are carried to: one with its key here, and one with its key there.
func (r *run) byHand() {
	r.t.Helper()
	spec := pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
	key, err := pki.GenerateKey(spec)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := key.Reveal()
	if err != nil {
		r.t.Fatal(err)
	}
	dir := filepath.Join(r.dir, handHost)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.file(filepath.Join(handHost, "own.key"), text)
	r.hostKeys(handHost)
	request, err := pki.NewCSR(pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:" + handHost, Organizations: []string{"system:nodes"}},
		Usages:  []pki.Usage{pki.ClientAuth}, Key: spec, Validity: time.Hour,
	}, key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.make(given.Kubelet("own-by-hand", func(n *v1alpha1.NodeCredential) {
		n.Spec.HostName, n.Spec.Delivery.Mode = handHost, v1alpha1.DeliveryManual
		n.Spec.KeySource, n.Spec.Request = v1alpha1.KeySourceHost, string(request)
	}))
	r.make(given.Kubelet("carried", func(n *v1alpha1.NodeCredential) {
		n.Spec.HostName, n.Spec.Role, n.Spec.Delivery.Mode = handHost, "KubeProxy", v1alpha1.DeliveryManual
	}))
	r.ready()
}

// hostKeys collects the keys that a host has in files: some of them are nowhere else.
func (r *run) hostKeys(host string) {
	r.t.Helper()
	dir := filepath.Join(r.dir, host)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		place, err := filepath.Rel(r.dir, path)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keys.addAll("host "+place, text)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// agent runs the agent of a host, which finds no API server and says so, until the function that it returns is called. It makes a
// key that never leaves its host, which is approved as a person does.
func (r *run) agent() (stop func()) {
	r.t.Helper()
	const name = "own-key"
	dir := filepath.Join(r.dir, agentHost)
	for _, name := range []string{"k8s-node1-kubelet", "k8s-node1-kube-proxy", "k8s-node1-kubelet-serving"} {
		r.kubectl("patch", "nodecredential", name, "-n", namespace, "--type=merge", `--patch={"spec":{"delivery":{"mode":"Agent"}}}`)
	}
	r.ready()
	r.make(given.Kubelet(name, func(n *v1alpha1.NodeCredential) {
		n.Spec.Role, n.Spec.APIServerRef, n.Spec.Kubeconfig = "Host", nil, nil
		n.Spec.KeySource, n.Spec.Delivery.Mode = v1alpha1.KeySourceHost, v1alpha1.DeliveryAgent
	}))
	config := regexp.MustCompile(`(?m)^(directory|stateDirectory): .*\n|^managementClusters:\n(- .*\n|  .*\n)+`).ReplaceAll(r.output("agent", "config", "-n", namespace, "--host", agentHost), nil)
	config = fmt.Appendf(config, "managementClusters: [{name: management, kubeconfig: %s}]\ndirectory: %s\nstateDirectory: %s\n", r.as(agents.DefaultNamespace, agents.AccountName(namespace, agentHost)),
		filepath.Join(dir, "kubernetes"), filepath.Join(dir, "state"))
	r.command("agent", "install", "-n", namespace, "--host", agentHost)
	end := r.background("", "agent", "--config", r.file("agent.yaml", config))
	var own pki.PrivateKey
	testenv.Eventually(r.t, "the agent has made a key", func() error {
		text, err := os.ReadFile(filepath.Join(dir, "state", "keys", name+".key"))
		if err == nil {
			own, err = pki.ParsePrivateKey(text)
		}
		return err
	})
	o := given.Kubelet(name)
	o.Namespace = namespace
	waits := testenv.Condition(r.t, shared.api, o, v1alpha1.ReconcilingCondition, "True", v1alpha1.ReasonHostKeyNotApproved)
	r.kubectl("patch", "nodecredential", name, "-n", namespace, "--type=merge", fmt.Sprintf(`--patch={"spec":{"hostKeySHA256":%q}}`, pki.PublicKeyDigest(own.Public())))
	r.ready()
	testenv.Eventually(r.t, waits.Message+": the agent has installed what was issued", func() error {
		found, err := filepath.Glob(filepath.Join(dir, "kubernetes", "pki", "*.key"))
		if err == nil && len(found) < 2 {
			return fmt.Errorf("there is %q", found)
		}
		return err
	})
	return func() {
		end()
		r.hostKeys(agentHost)
	}
}
