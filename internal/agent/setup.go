package agent

import (
	"cmp"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostfiles"
)

// DefaultCluster is the name of the management cluster, where there is one.
const DefaultCluster = "management"

// KubeconfigFile is where a host has its agent's first credential for the DefaultCluster, unless its configuration says otherwise.
const KubeconfigFile = "/etc/clusterpki/kubeconfig"

// ClusterNamed is the management cluster of a name, with its kubeconfig where it lies on a host.
func ClusterNamed(name string) ManagementCluster {
	if name == DefaultCluster {
		return ManagementCluster{Name: name, Kubeconfig: KubeconfigFile}
	}
	return ManagementCluster{Name: name, Kubeconfig: "/etc/clusterpki/" + name + ".kubeconfig"}
}

// Source is what the configuration of a host's agent is made from.
type Source struct {
	Host, Namespace string
	// Objects are those of the namespace.
	Objects export.Objects
	// DeliveryKeys are the public halves of the namespace's delivery keys.
	DeliveryKeys []string
}

// ConfigFor is the configuration of a host's agent. Notes say what a person should look at. It is an error if nothing there is for the
// host, or something that must not be delivered to it.
func ConfigFor(from Source) (Config, []string, error) {
	c := Config{APIVersion: ConfigVersion, Kind: ConfigKind, Host: from.Host, Namespace: from.Namespace, DeliveryKeys: from.DeliveryKeys}
	of := from.Objects.Of(from.Host)
	if len(of.Servers)+len(of.Credentials) == 0 {
		return Config{}, nil, fmt.Errorf("no NodeCredential or APIServerCertificate in namespace %q is for host %q", from.Namespace, from.Host)
	}
	if err := deliverable(from.Host, from.Objects); err != nil {
		return Config{}, nil, err
	}
	for _, s := range of.Servers {
		c.APIServer = &APIServer{Name: s.Name, SecretName: s.TLSSecretName(), Endpoint: onItsHost(cmp.Or(s.Spec.LocalEndpoint, s.Spec.Endpoint))}
		if key := from.Objects.KeysOf(&s); key != nil {
			c.APIServer.ServiceAccountSecretName = key.KeySecretName()
		}
	}
	for _, cred := range of.Credentials {
		c.Credentials = append(c.Credentials, credentialFor(&cred))
	}
	dir, err := export.Directory(of.Credentials)
	if err != nil {
		return Config{}, nil, err
	}
	if dir != hostfiles.DefaultBaseDir {
		c.Directory = dir
	}
	c.ManagementClusters = []ManagementCluster{ClusterNamed(DefaultCluster)}
	notes := c.addKubeletCA(from.Objects)
	c.addComponents()
	return c, notes, nil
}

// Text is a configuration as it is written to a file. It begins with whom the host is to trust, for the person who puts it there.
func (s Source) Text(c Config) ([]byte, error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	bundles := s.Objects.Bundles(s.Host)
	if len(bundles) == 0 {
		return text, nil
	}
	var head strings.Builder
	head.WriteString("# Whom this host is to trust, by the ClusterCAs of namespace " + s.Namespace + ":\n")
	for _, b := range bundles {
		fmt.Fprintf(&head, "#   %s: %s\n", b.Path, strings.Join(b.CAs, ", "))
	}
	return append([]byte(head.String()), text...), nil
}

// deliverable says why nothing can be delivered to a host: for what `clusterpki export` refuses too, and where an object is not for an agent.
// A credential whose host has yet to ask for its certificate is no reason: its agent does.
func deliverable(host string, all export.Objects) error {
	var problems []string
	for _, p := range all.Problems(host) {
		if !p.AwaitsHost {
			problems = append(problems, p.Text)
		}
	}
	of := all.Of(host)
	var others []string
	for i := range of.Servers {
		if of.Servers[i].Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
			others = append(others, "APIServerCertificate "+of.Servers[i].Name)
		}
	}
	for i := range of.Credentials {
		if of.Credentials[i].Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
			others = append(others, "NodeCredential "+of.Credentials[i].Name)
		}
	}
	if len(others) > 0 {
		problems = append(problems, "the operator signs nothing for this host's agent before delivery.mode is 'Agent': set it on "+strings.Join(others, ", "))
	}
	if len(problems) > 0 {
		return fmt.Errorf("nothing can be delivered to host %q yet:\n  %s", host, strings.Join(problems, "\n  "))
	}
	return nil
}

// onItsHost is how a host reaches its own API server: by localhost, which is a name of its certificate, because the
// endpoint may lead through a load balancer.
func onItsHost(endpoint string) string {
	address, err := addressOf(endpoint)
	if err != nil {
		return endpoint // admission refuses it
	}
	return "https://localhost" + address[strings.LastIndex(address, ":"):]
}

func credentialFor(cred *v1alpha1.NodeCredential) Credential {
	out := Credential{
		Name: cred.Name, Role: string(cred.Spec.Role), SecretName: cred.TLSSecretName(), Kubeconfig: cred.Spec.Kubeconfig != nil,
	}
	if u := cred.Spec.Custom; u != nil {
		out.Custom = &Custom{CommonName: u.CommonName, Organizations: u.Organizations}
		for _, usage := range u.Usages {
			out.Custom.Usages = append(out.Custom.Usages, string(usage))
		}
	}
	if cred.Spec.KeySource == v1alpha1.KeySourceHost {
		out.KeySource = keySourceHost
		out.PrivateKey = &PrivateKey{Algorithm: string(cred.Spec.PrivateKey.Algorithm), Size: int(cred.Spec.PrivateKey.Size)}
	}
	return out
}

// addKubeletCA finds, on the host of an API server, a credential whose bundle verifies the kubelets' servers too.
func (c *Config) addKubeletCA(all export.Objects) []string {
	if c.APIServer == nil {
		return nil
	}
	serving, notes := all.KubeletCAs(c.APIServer.Name)
	own := map[string]string{} // CA → a credential of this host: the API server's for the kubelets, else the first
	for i := range all.Credentials {
		cred := &all.Credentials[i]
		if cred.Spec.HostName == c.Host && cred.Spec.Role != "KubeletServing" &&
			(own[cred.Spec.CARef.Name] == "" || cred.Spec.Role == "APIServerKubeletClient") {
			own[cred.Spec.CARef.Name] = cred.Name
		}
	}
	switch {
	case len(serving) == 0:
	case len(serving) == 1 && own[serving[0]] != "":
		c.KubeletCA = own[serving[0]]
	default:
		notes = append(notes, "pki/kubelet-ca.crt is not kept current: the kubelets' serving certificates are of the CAs "+strings.Join(serving, ", ")+
			", and an agent can keep the bundle of one that signs a credential of this host")
	}
	return notes
}

// addComponents lists those that read some files only when they start, as units of systemd.
func (c *Config) addComponents() {
	for _, k := range hostfiles.Components() {
		if c.runs(k) {
			c.Components = append(c.Components, Component{Name: k.Name, Systemd: &Systemd{Unit: k.Name + ".service"}})
		}
	}
}
