package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// newCredential is a credential of the samples' cluster, delivered by an agent.
func newCredential(host, name string, role v1alpha1.Role, mods ...func(*v1alpha1.NodeCredential)) *v1alpha1.NodeCredential {
	return given.Kubelet(host+"-"+name, append([]func(*v1alpha1.NodeCredential){func(c *v1alpha1.NodeCredential) {
		c.Namespace, c.Spec.HostName, c.Spec.Role = namespace, host, role
		c.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, LeaseDuration: metav1.Duration{Duration: 10 * time.Second}}
	}}, mods...)...)
}

// byOperator is a host whose Secrets the operator issues, with an agent that is allowed what the operator grants it.
func byOperator(t *testing.T, name string, credentials ...*v1alpha1.NodeCredential) *host {
	t.Helper()
	for _, c := range credentials {
		if err := shared.management.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := shared.management.Delete(context.WithoutCancel(t.Context()), c); err != nil {
				t.Error(err)
			}
		})
	}
	var c agent.Config
	testenv.Eventually(t, "what is for "+name+" can be delivered", func() (err error) {
		c, err = configFor(t, name)
		return err
	})
	h := newHost(t, c)
	for i := range h.config.Components {
		h.config.Components[i].Systemd = nil
		h.config.Components[i].Command = []string{"sh", "-c", "echo " + h.config.Components[i].Name + " >> " + h.reloads()}
	}
	h.identity = h.allowed()
	h.config.ManagementClusters = managed(kubeconfigOf(t, h.identity))
	return h
}

// configFor is the configuration of a host's agent.
func configFor(t *testing.T, name string) (agent.Config, error) {
	t.Helper()
	return configIn(t, namespace, name)
}

// configIn is the configuration of the agent of a host of a namespace.
func configIn(t *testing.T, namespace, name string) (agent.Config, error) {
	t.Helper()
	var servers v1alpha1.APIServerCertificateList
	var all v1alpha1.NodeCredentialList
	var keys v1alpha1.ServiceAccountKeyList
	for _, l := range []client.ObjectList{&servers, &all, &keys} {
		if err := shared.management.List(t.Context(), l, client.InNamespace(namespace)); err != nil {
			return agent.Config{}, err
		}
	}
	from := agent.Source{Host: name, Namespace: namespace, Objects: export.Objects{Servers: servers.Items, Credentials: all.Items, Keys: keys.Items}}
	c, notes, err := agent.ConfigFor(from)
	if err == nil && len(notes) > 0 {
		t.Fatal(notes)
	}
	if err != nil {
		return c, err
	}
	c.DeliveryKeys, err = authority.PublishedDelivery(t.Context(), shared.management, controller.DefaultAuthorityNamespace, namespace)
	return c, err
}

// reloads is where the commands of a host's components leave a line.
func (h *host) reloads() string { return filepath.Join(filepath.Dir(h.config.Directory), "reloads") }

// allowed connects as the ServiceAccount that the operator has made for the agent, by a token of it.
func (h *host) allowed() *rest.Config {
	h.t.Helper()
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = agents.DefaultNamespace, agents.AccountName(h.config.Namespace, h.config.Host)
	var token authenticationv1.TokenRequest
	testenv.Eventually(h.t, "there is a ServiceAccount for the agent", func() error {
		return shared.management.SubResource("token").Create(h.t.Context(), account, &token)
	})
	out := rest.AnonymousClientConfig(shared.config)
	out.BearerToken = token.Status.Token
	return out
}

// acknowledged waits until a credential's TrustAcknowledged has a reason.
func acknowledged(t *testing.T, name, reason string) {
	t.Helper()
	testenv.Eventually(t, name+" is "+reason, func() error {
		var c v1alpha1.NodeCredential
		if err := shared.management.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &c); err != nil {
			return err
		}
		got := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.TrustAcknowledgedCondition)
		if got == nil || got.Reason != reason || (got.Status == metav1.ConditionTrue) != (reason == v1alpha1.ReasonInUse) {
			return fmt.Errorf("the condition is %+v", got)
		}
		return nil
	})
}

func secretOf(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := shared.management.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestAgentKeepsAHostCurrent takes a host from nothing through a re-issue and a silence, with an agent that is a process
// of its own and has the ServiceAccount that the operator makes.
func TestAgentKeepsAHostCurrent(t *testing.T) {
	t.Parallel()
	kubelet, proxy := newCredential("k8s-agent1", "kubelet", "Kubelet"), newCredential("k8s-agent1", "proxy", "KubeProxy")
	h := byOperator(t, "k8s-agent1", kubelet, proxy)
	process := h.process()
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Process.Kill(); process.Wait() })
	for _, c := range []*v1alpha1.NodeCredential{kubelet, proxy} {
		acknowledged(t, c.Name, v1alpha1.ReasonInUse)
	}
	h.wantModes(append([]string{"kube-proxy.conf", "kube-proxy.embedded.conf", "pki/kube-proxy.crt", "pki/kube-proxy.key"}, kubeletFiles...)...)
	for _, file := range []string{"kubelet.conf", "kubelet.embedded.conf", "kube-proxy.conf"} {
		if got := whoami(t, h.as(file)).Username; got != "system:node:k8s-agent1" && got != "system:kube-proxy" {
			t.Errorf("%s is %s", file, got)
		}
	}
	if _, err := os.Stat(h.reloads()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was reloaded when there was nothing before: %v", err)
	}
	h.keepFiles(kubelet.TLSSecretName())

	first := h.read("pki/kubelet-client.crt")
	h.edit(kubelet, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = metav1.Duration{Duration: 48 * time.Hour} })
	h.reissued("pki/kubelet-client.crt", first, kubelet)
	if got := string(h.read("pki/kubelet-client.key")); got != string(secretOf(t, kubelet.TLSSecretName()).Data["tls.key"]) {
		t.Error("the key is another one than issued")
	}

	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	acknowledged(t, kubelet.Name, v1alpha1.ReasonLeaseExpired)
	acknowledged(t, proxy.Name, v1alpha1.ReasonLeaseExpired)
	process = h.process()
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged(t, kubelet.Name, v1alpha1.ReasonInUse)
	acknowledged(t, proxy.Name, v1alpha1.ReasonInUse)
	h.saysNothingOf(secretOf(t, kubelet.TLSSecretName()).Data["tls.key"])
}

// reissued waits until a file is another one, and in use.
func (h *host) reissued(name string, before []byte, c *v1alpha1.NodeCredential) {
	h.t.Helper()
	testenv.Eventually(h.t, name+" is another one", func() error {
		if bytes.Equal(h.read(name), before) {
			return errors.New("it is the one of before")
		}
		return nil
	})
	testenv.Eventually(h.t, "what is issued is installed", func() error {
		if !bytes.Equal(h.read(name), secretOf(h.t, c.TLSSecretName()).Data["tls.crt"]) {
			return errors.New("it is not")
		}
		return nil
	})
	h.inUse(c.TLSSecretName())
	acknowledged(h.t, c.Name, v1alpha1.ReasonInUse)
}

func (h *host) edit(c *v1alpha1.NodeCredential, change func(*v1alpha1.NodeCredential)) {
	h.t.Helper()
	testenv.Eventually(h.t, "edit "+c.Name, func() error {
		if err := shared.management.Get(h.t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		change(c)
		return shared.management.Update(h.t.Context(), c)
	})
}

// as connects to the cluster with a kubeconfig of the host.
func (h *host) as(file string) client.Client {
	h.t.Helper()
	c, err := clientFrom(h.at(file))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// TestAgentKeepsTheKeyOnTheHost has the host make the key: it works from the host's files and is nowhere else.
func TestAgentKeepsTheKeyOnTheHost(t *testing.T) {
	t.Parallel()
	kubelet := newCredential("k8s-agent2", "kubelet", "Kubelet", func(c *v1alpha1.NodeCredential) { c.Spec.KeySource = v1alpha1.KeySourceHost })
	h := byOperator(t, "k8s-agent2", kubelet)
	stop := h.run(agent.Options{})
	h.approve(kubelet)
	acknowledged(t, kubelet.Name, v1alpha1.ReasonInUse)
	if got := whoami(t, h.as("kubelet.conf")); got.Username != "system:node:k8s-agent2" {
		t.Errorf("it is %s", got.Username)
	}
	h.wantModes("kubelet.conf", "pki/ca.crt", "pki/client-ca.crt", "pki/kubelet-client.crt", "pki/kubelet-client.key")
	if _, err := os.Stat(h.at(hostfiles.ForRole("Kubelet", "").Embedded)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a kubeconfig that would embed the key: %v", err)
	}
	key := h.read("pki/kubelet-client.key")
	before := h.read("pki/kubelet-client.crt")

	stop() // and again: it is the same key
	h.run(agent.Options{})
	h.edit(kubelet, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = metav1.Duration{Duration: 48 * time.Hour} })
	h.reissued("pki/kubelet-client.crt", before, kubelet)
	if !bytes.Equal(key, h.read("pki/kubelet-client.key")) {
		t.Error("the key has changed")
	}
	whoami(t, h.as("kubelet.conf"))
	var secrets corev1.SecretList
	if err := shared.management.List(t.Context(), &secrets); err != nil {
		t.Fatal(err)
	}
	private, err := pki.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		for name, data := range s.Data {
			if held, err := pki.ParsePrivateKey(data); err == nil && pki.SamePublicKey(held.Public(), private.Public()) || bytes.Contains(data, key) {
				t.Errorf("Secret %s/%s holds the key in %s", s.Namespace, s.Name, name)
			}
		}
		if s.Name == kubelet.TLSSecretName() && len(s.Data["tls.key"]) > 0 {
			t.Errorf("Secret %s has a key", s.Name)
		}
	}
	h.saysNothingOf(key)
}

// approve does what a person does: what the agent logs on its host is what the operator asks about, and goes into the spec.
func (h *host) approve(c *v1alpha1.NodeCredential) {
	h.t.Helper()
	var digest string
	testenv.Eventually(h.t, "the operator asks for an approval of the key that the agent has", func() error {
		if err := shared.management.Get(h.t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		waits := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReconcilingCondition)
		if waits == nil || waits.Reason != v1alpha1.ReasonHostKeyNotApproved {
			return fmt.Errorf("its conditions are %+v", c.Status.Conditions)
		}
		_, digest, _ = strings.Cut(strings.TrimSuffix(waits.Message, "'"), "'")
		if digest == "" || !strings.Contains(h.logs.String(), digest) {
			return fmt.Errorf("the digest is %q", digest)
		}
		return nil
	})
	h.edit(c, func(c *v1alpha1.NodeCredential) { c.Spec.HostKeySHA256 = digest })
}

// saysNothingOf looks for lines of a key in all that the agent has said, and what the operator made of it.
func (h *host) saysNothingOf(key []byte) {
	h.t.Helper()
	var leases coordinationv1.LeaseList
	var credentials v1alpha1.NodeCredentialList
	for _, l := range []client.ObjectList{&leases, &credentials} {
		if err := shared.management.List(h.t.Context(), l, client.InNamespace(h.config.Namespace)); err != nil {
			h.t.Fatal(err)
		}
	}
	said := fmt.Sprintf("%s %+v %+v", h.logs, leases.Items, credentials.Items)
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(said, line) {
			h.t.Error("logs, Leases or status hold a key")
		}
	}
}
