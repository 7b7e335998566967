package agent

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config"
	"clusterpki.io/operator/test/golden"
)

// samples are the objects of config/samples, each delivered by an agent if change says nothing else.
func samples(t *testing.T, change func(*v1alpha1.NodeCredential)) ([]v1alpha1.APIServerCertificate, []v1alpha1.NodeCredential) {
	t.Helper()
	var servers []v1alpha1.APIServerCertificate
	var credentials []v1alpha1.NodeCredential
	for _, name := range []string{"apiservercertificate", "master", "nodes"} {
		text, err := config.Files.ReadFile("samples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var o struct {
				v1alpha1.NodeCredential
				server v1alpha1.APIServerCertificate
			}
			if name == "apiservercertificate" {
				err = d.Decode(&o.server)
			} else {
				err = d.Decode(&o.NodeCredential)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.server.Name != "" {
				o.server.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
				servers = append(servers, o.server)
			} else if o.Name != "" {
				o.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
				if change != nil {
					change(&o.NodeCredential)
				}
				credentials = append(credentials, o.NodeCredential)
			}
		}
	}
	return servers, credentials
}

// TestGolden compares what is printed for the hosts of the samples: it can be read again, and grants no more than it says.
func TestGolden(t *testing.T) {
	servers, credentials := samples(t, nil)
	for _, host := range []string{"k8s-master", "k8s-node1"} {
		c, notes, err := ConfigFor(host, "prod", servers, credentials)
		if err != nil || len(notes) > 0 {
			t.Fatal(notes, err)
		}
		text, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, filepath.Join("testdata", host, "agent.yaml"), text)
		if _, err := ParseConfig(text); err != nil {
			t.Errorf("what is printed for %s cannot be read: %v", host, err)
		}
		objects, err := Manifests(c)
		if err != nil {
			t.Fatal(err)
		}
		text = nil
		for _, o := range objects {
			one, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			text = append(append(text, "---\n"...), one...)
		}
		golden.Check(t, filepath.Join("testdata", host, "manifests.yaml"), text)
	}
}

// TestConfigNotes tells a person what to look at.
func TestConfigNotes(t *testing.T) {
	servers, credentials := samples(t, func(c *v1alpha1.NodeCredential) {
		if c.Name == "k8s-node1-kube-proxy" {
			c.Spec.Delivery.Mode = v1alpha1.DeliveryManual
		}
	})
	_, notes, err := ConfigFor("k8s-node1", "prod", servers, credentials)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"set delivery.mode: Agent, or the rotation of a CA does not ask this agent: NodeCredential k8s-node1-kube-proxy",
	}, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, _, err = ConfigFor("k8s-node9", "prod", servers, credentials)
	says(t, err, `namespace "prod"`, `host "k8s-node9"`)
}

// TestConfigForAHostOfItsOwn takes directory, key source and the agent's own identity from the objects.
func TestConfigForAHostOfItsOwn(t *testing.T) {
	servers, credentials := samples(t, func(c *v1alpha1.NodeCredential) {
		if c.Name != "k8s-node1-kubelet" {
			return
		}
		c.Spec.Kubeconfig.Directory = "/srv/k8s"
		c.Spec.KeySource = v1alpha1.KeySourceHost
		c.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: "RSA", Size: 3072}
	})
	own := credentials[len(credentials)-1].DeepCopy()
	own.Name, own.Spec.Role, own.Spec.HostName = "k8s-node1-agent", "Agent", "k8s-node1"
	c, _, err := ConfigFor("k8s-node1", "prod", servers, append([]v1alpha1.NodeCredential{*own}, credentials...))
	if err != nil {
		t.Fatal(err)
	}
	if c.Directory != "/srv/k8s" || c.Kubeconfig != "/srv/k8s/clusterpki-agent.conf" {
		t.Errorf("the directory is %s, and the agent's kubeconfig %s", c.Directory, c.Kubeconfig)
	}
	for _, cred := range c.Credentials {
		if cred.Name == "k8s-node1-kubelet" && (cred.KeySource != "Host" || *cred.PrivateKey != PrivateKey{Algorithm: "RSA", Size: 3072}) {
			t.Errorf("the kubelet is %+v", cred)
		}
	}
	objects, err := Manifests(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("name: clusterpki:agent:k8s-node1")) || bytes.Contains(text, []byte("ServiceAccount")) {
		t.Errorf("its own identity is not who is allowed:\n%s", text)
	}
}
