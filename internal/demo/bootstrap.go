package demo

import (
	"fmt"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

// bootstrap makes the PKI of the management cluster, which no operator can issue yet: everything on one
// host, from two CAs that are forgotten once the host's files are written.
type bootstrap struct {
	now     time.Time
	address string
	port    int
	dir     string // where the files will lie
	cas     map[string]pki.CA
}

// managementHost is the name of the host.
const managementHost = "management"

var bootstrapKey = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}

const bootstrapValidity = 7 * 24 * time.Hour

// files are the host's, as they would be exported.
func (b *bootstrap) files() ([]export.File, error) {
	b.cas = map[string]pki.CA{}
	for _, name := range []string{"management-ca", "management-etcd-ca"} {
		ca, err := pki.SelfSign(b.now, pki.CertificateSpec{
			Subject: pki.Subject{CommonName: name}, Key: bootstrapKey, Validity: bootstrapValidity,
		})
		if err != nil {
			return nil, fmt.Errorf("make the management cluster's CA: %w", err)
		}
		b.cas[name] = ca
	}
	server, err := b.server()
	if err != nil {
		return nil, err
	}
	h := export.Host{Name: managementHost, APIServer: &server, Cluster: export.Cluster{APIServer: server.Object}}
	for _, role := range []string{"EtcdServer", "EtcdPeer", "EtcdClient", "EtcdHealthcheckClient"} {
		c, err := b.credential(role, "management-etcd-ca")
		if err != nil {
			return nil, err
		}
		if role == "EtcdPeer" {
			h.Cluster.EtcdPeers = append(h.Cluster.EtcdPeers, *c.Object)
		}
		h.Credentials = append(h.Credentials, c)
	}
	for _, role := range []string{"SuperAdmin", "ControllerManager"} {
		c, err := b.credential(role, "management-ca")
		if err != nil {
			return nil, err
		}
		c.Object.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{Directory: b.dir}
		c.Kubeconfig = b.kubeconfig(c)
		h.Credentials = append(h.Credentials, c)
	}
	files, _, err := export.Layout(h, b.dir, b.now)
	if err != nil {
		return nil, fmt.Errorf("lay out the management cluster's files: %w", err)
	}
	return files, nil
}

func (b *bootstrap) endpoint() string { return fmt.Sprintf("https://%s:%d", b.address, b.port) }

func (b *bootstrap) server() (export.APIServer, error) {
	c := &v1alpha1.APIServerCertificate{}
	c.Spec.HostName, c.Spec.ClusterDomain, c.Spec.Endpoint = managementHost, "cluster.local", b.endpoint()
	c.Spec.ServiceCIDRs, c.Spec.IPAddresses = []string{"10.0.0.0/24"}, []string{b.address}
	c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "sa"}
	sans, err := pki.APIServerSANs(pki.APIServerInput{
		HostName: c.Spec.HostName, ClusterDomain: c.Spec.ClusterDomain,
		ServiceCIDRs: c.Spec.ServiceCIDRs, IPAddresses: c.Spec.IPAddresses,
	})
	if err != nil {
		return export.APIServer{}, fmt.Errorf("name the management cluster: %w", err)
	}
	data, err := b.issue("management-ca", pki.CertificateSpec{
		Subject: pki.Subject{CommonName: managementHost}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth},
	})
	if err != nil {
		return export.APIServer{}, err
	}
	data["client-ca.crt"] = data["ca.crt"]
	key, err := pki.GenerateKey(bootstrapKey)
	if err != nil {
		return export.APIServer{}, fmt.Errorf("make a key for service accounts: %w", err)
	}
	private, err := key.Reveal()
	if err != nil {
		return export.APIServer{}, fmt.Errorf("make a key for service accounts: %w", err)
	}
	public, err := key.PublicPEM()
	if err != nil {
		return export.APIServer{}, fmt.Errorf("make a key for service accounts: %w", err)
	}
	return export.APIServer{Object: c, TLS: data, ServiceAccounts: map[string][]byte{"sa.key": private, "sa.pub": public}}, nil
}

func (b *bootstrap) credential(name, ca string) (export.Credential, error) {
	role, ok := pki.LookupRole(name)
	if !ok {
		return export.Credential{}, fmt.Errorf("there is no role %q", name)
	}
	request := pki.CertificateSpec{
		Subject: pki.Subject{CommonName: role.CommonNameFor(managementHost), Organizations: role.Organizations},
		Usages:  role.Usages,
	}
	c := &v1alpha1.NodeCredential{}
	c.Name, c.Spec.HostName, c.Spec.Role = name, managementHost, v1alpha1.Role(name)
	if role.HostSAN {
		c.Spec.IPAddresses = []string{b.address}
		var err error
		if request.SANs, err = pki.NewSANs([]string{managementHost, "localhost"}, []string{b.address, "127.0.0.1"}); err != nil {
			return export.Credential{}, fmt.Errorf("name %s: %w", name, err)
		}
	}
	data, err := b.issue(ca, request)
	return export.Credential{Object: c, TLS: data}, err
}

// issue returns what the Secret of a certificate would hold.
func (b *bootstrap) issue(ca string, r pki.CertificateSpec) (map[string][]byte, error) {
	r.Key, r.Validity = bootstrapKey, bootstrapValidity
	pair, err := pki.Issue(b.now, r, b.cas[ca])
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", r.Subject, err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", r.Subject, err)
	}
	return map[string][]byte{"tls.crt": pair.CertPEM(), "tls.key": key, "ca.crt": b.cas[ca].CertPEM()}, nil
}

// kubeconfig returns what a kubeconfig is rendered from.
func (b *bootstrap) kubeconfig(c export.Credential) *export.Kubeconfig {
	return &export.Kubeconfig{
		Params: kubeconfig.Params{Server: b.endpoint(), ClusterName: managementHost, ContextName: managementHost, UserName: c.Object.Name},
		CA:     c.TLS["ca.crt"], Certificate: c.TLS["tls.crt"],
	}
}
