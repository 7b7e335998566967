package agent

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/test/golden"
)

// samples are the objects of config/samples, each delivered by an agent if change says nothing else.
func samples(t *testing.T, change func(*v1alpha1.NodeCredential)) export.Objects {
	t.Helper()
	var out export.Objects
	for _, name := range []string{"serviceaccountkey", "apiservercertificate", "master", "nodes"} {
		text, err := config.Files.ReadFile("samples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var o struct {
				v1alpha1.NodeCredential
				server v1alpha1.APIServerCertificate
				key    v1alpha1.ServiceAccountKey
			}
			switch name {
			case "serviceaccountkey":
				err = d.Decode(&o.key)
			case "apiservercertificate":
				err = d.Decode(&o.server)
			default:
				err = d.Decode(&o.NodeCredential)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.key.Name != "" {
				o.key.Status.Conditions = ready()
				out.Keys = append(out.Keys, o.key)
			} else if o.server.Name != "" {
				o.server.Spec.Delivery.Mode, o.server.Status.Conditions = v1alpha1.DeliveryAgent, ready()
				out.Servers = append(out.Servers, o.server)
			} else if o.Name != "" {
				o.Spec.Delivery.Mode, o.Status.Conditions = v1alpha1.DeliveryAgent, ready()
				if change != nil {
					change(&o.NodeCredential)
				}
				out.Credentials = append(out.Credentials, o.NodeCredential)
			}
		}
	}
	return out
}

// ready are the conditions of an object that is issued.
func ready() []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
}

// of is what the configuration of a host's agent is made from.
func of(host string, all export.Objects) Source {
	return Source{Host: host, Namespace: "prod", Objects: all, DeliveryKeys: []string{operatorPublic()}}
}

// TestGolden compares what is printed for the hosts of the samples: it can be read again.
func TestGolden(t *testing.T) {
	all := samples(t, nil)
	for _, host := range []string{"k8s-master", "k8s-node1"} {
		c, notes, err := ConfigFor(of(host, all))
		if err != nil || len(notes) > 0 {
			t.Fatal(notes, err)
		}
		text, err := of(host, all).Text(c)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, filepath.Join("testdata", host, "agent.yaml"), text)
		if _, err := ParseConfig(text); err != nil {
			t.Errorf("what is printed for %s cannot be read: %v", host, err)
		}
	}
}

// TestConfigRefuses what `clusterpki export` refuses too, and what is for no agent.
func TestConfigRefuses(t *testing.T) {
	kubelet := func(change func(*v1alpha1.NodeCredential)) export.Objects {
		return samples(t, func(c *v1alpha1.NodeCredential) {
			if c.Name == "k8s-node1-kubelet" {
				change(c)
			}
		})
	}
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "the message"}
	}
	holding := func(change func(*v1alpha1.ClusterCA)) export.Objects {
		all := kubelet(func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "the-ca" })
		ca := v1alpha1.ClusterCA{}
		ca.Name = "k8s"
		change(&ca)
		all.CAs = append(all.CAs, ca)
		return all
	}
	beside := func(name string, role v1alpha1.Role, host, ca string) export.Objects {
		all := samples(t, nil)
		var own v1alpha1.NodeCredential
		own.Name, own.Spec.Role, own.Spec.HostName, own.Spec.CARef.Name = name, role, host, ca
		own.Spec.Delivery.Mode, own.Status.Conditions = v1alpha1.DeliveryAgent, ready()
		if hostfiles.ForRole(string(role), name).Kubeconfig != "" {
			own.Spec.Kubeconfig, own.Spec.APIServerRef = &v1alpha1.KubeconfigSpec{}, &v1alpha1.APIServerReference{Name: "of-mine"}
			server := v1alpha1.APIServerCertificate{}
			server.Name, server.Spec.HostName, server.Spec.CARef.Name = "of-mine", "elsewhere", ca
			all.Servers = append(all.Servers, server)
		}
		all.Credentials = append(all.Credentials, own)
		return all
	}
	two := samples(t, nil)
	other := two.Servers[0].DeepCopy()
	other.Name = "another"
	two.Servers = append(two.Servers, *other)
	for name, c := range map[string]struct {
		host string
		all  export.Objects
		says []string
	}{
		"no such host": {"k8s-node9", samples(t, nil), []string{`namespace "prod"`, `host "k8s-node9"`}},
		"a CA's key": {"k8s-node1", holding(func(ca *v1alpha1.ClusterCA) { ca.Spec.SecretName = "the-ca" }), []string{
			`Secret "the-ca"`, `the key of ClusterCA "k8s"`}},
		"the key of a CA that is imported": {"k8s-node1", holding(func(ca *v1alpha1.ClusterCA) {
			ca.Spec.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{SecretRef: v1alpha1.SecretReference{Name: "the-ca"}}}
		}), []string{`the key of ClusterCA "k8s"`}},
		"stalled": {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) {
			c.Status.Conditions = append(c.Status.Conditions, condition("Stalled", metav1.ConditionTrue, "SecretConflict"))
		}), []string{"is Stalled", "the message"}},
		"not ready": {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) {
			c.Status.Conditions = []metav1.Condition{condition("Ready", metav1.ConditionFalse, "SecretConflict")}
		}), []string{"is not Ready: SecretConflict"}},
		"no status":       {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) { c.Status.Conditions = nil }), []string{"no status yet"}},
		"changed since":   {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) { c.Generation = 2 }), []string{"has not acted on it yet"}},
		"two API servers": {"k8s-master", two, []string{"are both for host"}},
		"two of one role": {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) { c.Spec.Role = "KubeProxy" }), []string{"both belong at pki/kube-proxy.crt"}},
		"named as what verifies a kubelet's clients": {"k8s-node1", beside("client-ca", "Host", "k8s-node1", "mine"), []string{
			`NodeCredential "client-ca" (role Host)`, "pki/client-ca.crt", "another name"}},
		"named as what verifies the API server": {"k8s-node1", beside("ca", "Custom", "k8s-node1", "mine"), []string{"pki/ca.crt"}},
		"named as what verifies the aggregator": {"k8s-node1", beside("front-proxy-ca", "Host", "k8s-node1", "mine"), []string{"pki/front-proxy-ca.crt"}},
		"named as the service accounts' key":    {"k8s-master", beside("sa", "Host", "k8s-master", "mine"), []string{"pki/sa.key"}},
		"named as the API server":               {"k8s-master", beside("apiserver", "Host", "k8s-master", "mine"), []string{"pki/apiserver.crt"}},
		"named as a component's kubeconfig":     {"k8s-node1", beside("kubelet", "Host", "k8s-node1", "mine"), []string{"pki/kubelet.crt"}},
		"another CA for what is shared": {"k8s-node1", beside("b", "Scheduler", "k8s-node1", "mine"), []string{
			`NodeCredential "b" (role Scheduler)`, "pki/ca.crt", "the trust bundle of ClusterCA k8s and the trust bundle of ClusterCA mine", "apiServerRef"}},
		"another CA for etcd":           {"k8s-master", beside("b", "EtcdServer", "k8s-master", "mine"), []string{"pki/etcd/ca.crt", "ClusterCA mine"}},
		"another CA for the aggregator": {"k8s-master", beside("b", "FrontProxyClient", "k8s-master", "mine"), []string{"pki/front-proxy-ca.crt", "ClusterCA mine"}},
		"two directories": {"k8s-node1", samples(t, func(c *v1alpha1.NodeCredential) {
			if c.Spec.Kubeconfig != nil {
				c.Spec.Kubeconfig.Directory = "/srv/" + c.Name
			}
		}), []string{"different directories"}},
		"for nobody's agent": {"k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual }), []string{
			"set it on NodeCredential k8s-node1-kubelet"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := ConfigFor(of(c.host, c.all))
			says(t, err, c.says...)
			if len(got.Credentials) > 0 || got.APIServer != nil {
				t.Errorf("it says %+v all the same", got)
			}
		})
	}
	_, _, err := ConfigFor(of("k8s-node1", kubelet(func(c *v1alpha1.NodeCredential) {
		c.Status.Conditions = []metav1.Condition{condition("Ready", metav1.ConditionFalse, "RequestMissing")}
	})))
	if err != nil {
		t.Errorf("a host that has yet to ask for its certificate cannot have an agent, which asks: %v", err)
	}
}

// TestKubeletCA: a serving certificate of another CA, on whatever host and for whatever API server, takes nothing from the bundle that verifies kubelets,
// and one of a CA that the API server does not know is told.
func TestKubeletCA(t *testing.T) {
	for name, c := range map[string]struct {
		ref  string
		told bool
	}{"for no API server": {}, "for another one": {ref: "other"}, "for this one": {ref: "k8s-master", told: true}} {
		t.Run(name, func(t *testing.T) {
			all := samples(t, nil)
			var own v1alpha1.NodeCredential
			own.Name, own.Spec.Role, own.Spec.HostName, own.Spec.CARef.Name = "eve", "KubeletServing", "eve-host", "mine"
			if c.ref != "" {
				own.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: c.ref}
			}
			all.Credentials = append(all.Credentials, own)
			got, notes, err := ConfigFor(of("k8s-master", all))
			if err != nil || got.KubeletCA != "k8s-master-apiserver-kubelet-client" {
				t.Errorf("kubeletCA is %q: %v", got.KubeletCA, err)
			}
			if (len(notes) > 0) != c.told || c.told && !strings.Contains(notes[0], `does not trust ClusterCA "mine"`) {
				t.Errorf("notes are %q", notes)
			}
		})
	}
}

// TestConfigForAHostOfItsOwn takes directory and key source from the objects.
func TestConfigForAHostOfItsOwn(t *testing.T) {
	all := samples(t, func(c *v1alpha1.NodeCredential) {
		if c.Spec.HostName == "k8s-node1" && c.Spec.Kubeconfig != nil {
			c.Spec.Kubeconfig.Directory = "/srv/k8s"
		}
		if c.Name != "k8s-node1-kubelet" {
			return
		}
		c.Spec.KeySource = v1alpha1.KeySourceHost
		c.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: "RSA", Size: 3072}
	})
	c, _, err := ConfigFor(of("k8s-node1", all))
	if err != nil {
		t.Fatal(err)
	}
	if c.Directory != "/srv/k8s" {
		t.Errorf("the directory is %s", c.Directory)
	}
	for _, cred := range c.Credentials {
		if cred.Name == "k8s-node1-kubelet" && (cred.KeySource != "Host" || *cred.PrivateKey != PrivateKey{Algorithm: "RSA", Size: 3072}) {
			t.Errorf("the kubelet is %+v", cred)
		}
	}
}
