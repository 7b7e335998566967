// Package desired translates specs into the values that the pure packages decide upon. It alone does. An error is a stall: a
// spec that only an edit by a person can cure.
package desired

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

func keySpec(s v1alpha1.PrivateKeySpec) pki.KeySpec {
	return pki.KeySpec{Algorithm: pki.Algorithm(s.Algorithm), Size: int(s.Size)}
}

// CA is the CA that a ClusterCA asks for.
func CA(ca *v1alpha1.ClusterCA) plan.DesiredCA {
	name := ca.Spec.Subject.CommonName
	if name == "" {
		name = ca.Name
	}
	return plan.DesiredCA{
		Spec: pki.CertificateSpec{
			Subject:  pki.Subject{CommonName: name, Organizations: ca.Spec.Subject.Organizations},
			Key:      keySpec(ca.Spec.PrivateKey),
			Validity: ca.Spec.Validity.Duration,
		},
		RenewBefore: orZero(ca.Spec.RenewBefore),
		Seed:        Seed(ca),
	}
}

// ValidCA refuses a CA that is to be made, and cannot be, or not under that name.
func ValidCA(s pki.CertificateSpec) error {
	for _, name := range append([]string{s.Subject.CommonName}, s.Subject.Organizations...) {
		if err := pki.CheckOwnName(name); err != nil {
			return stall.Because(v1alpha1.ReasonInvalidSpec, "spec.subject: %v", err)
		}
	}
	return Valid(s)
}

// orZero is an optional duration; zero stands for the default of package plan.
func orZero(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

// APIServer is the serving certificate that an APIServerCertificate asks for.
func APIServer(c *v1alpha1.APIServerCertificate) (plan.Desired, error) {
	sans, err := apiServerSANs(c)
	if err != nil {
		return plan.Desired{}, err
	}
	d := plan.Desired{
		Spec: pki.CertificateSpec{
			Subject:  pki.Subject{CommonName: c.Spec.HostName},
			SANs:     sans,
			Usages:   []pki.Usage{pki.ServerAuth},
			Key:      keySpec(c.Spec.PrivateKey),
			Validity: c.Spec.Validity.Duration,
		},
		RenewBefore:    orZero(c.Spec.RenewBefore),
		RenewalTrigger: c.Spec.Renewal.Trigger,
		Seed:           Seed(c),
		Awaits:         awaits(c),
	}
	return d, Valid(d.Spec)
}

func apiServerSANs(c *v1alpha1.APIServerCertificate) (pki.SANs, error) {
	sans, err := pki.APIServerSANs(pki.APIServerInput{
		HostName:      c.Spec.HostName,
		ClusterDomain: c.Spec.ClusterDomain,
		ServiceCIDRs:  c.Spec.ServiceCIDRs,
		DNSNames:      c.Spec.DNSNames,
		IPAddresses:   c.Spec.IPAddresses,
	})
	if err != nil {
		return pki.SANs{}, stall.Because(v1alpha1.ReasonInvalidSpec, "%v", err)
	}
	for _, name := range c.Spec.DNSNames {
		if err := pki.CheckOwnName(name); err != nil {
			return pki.SANs{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.dnsNames: %v", err)
		}
	}
	return sans, nil
}

// EndpointCovered refuses an endpoint whose host the serving certificate does not name: every client
// would refuse the server.
func EndpointCovered(c *v1alpha1.APIServerCertificate) error {
	sans, err := apiServerSANs(c)
	if err != nil {
		return err
	}
	host, err := pki.EndpointHost(c.Spec.Endpoint)
	if err != nil {
		return stall.Because(v1alpha1.ReasonInvalidSpec, "spec.endpoint: %v", err)
	}
	field := "the host of the endpoint"
	if c.Spec.TLSServerName != "" {
		host, field = c.Spec.TLSServerName, "the tlsServerName"
	}
	if !sans.Covers(host) {
		return stall.Because(v1alpha1.ReasonEndpointNotCovered,
			"no SAN covers %q, %s of APIServerCertificate %q: add it to its dnsNames or ipAddresses, change its endpoint, or set "+
				"tlsServerName to a name that is covered; the SANs are %s", host, field, c.Name, sans)
	}
	return localEndpointCovered(c, sans)
}

func localEndpointCovered(c *v1alpha1.APIServerCertificate, sans pki.SANs) error {
	if c.Spec.LocalEndpoint == "" {
		return nil
	}
	host, err := pki.EndpointHost(c.Spec.LocalEndpoint)
	if err != nil {
		return stall.Because(v1alpha1.ReasonInvalidSpec, "spec.localEndpoint: %v", err)
	}
	if !sans.Covers(host) {
		return stall.Because(v1alpha1.ReasonEndpointNotCovered,
			"no SAN covers %q, the host of the localEndpoint of APIServerCertificate %q: add it to its dnsNames or ipAddresses, or change its localEndpoint; "+
				"the SANs are %s", host, c.Name, sans)
	}
	return nil
}

// Credential is the client certificate that a NodeCredential asks for.
func Credential(c *v1alpha1.NodeCredential) (plan.Desired, error) {
	if name := c.TLSSecretName(); name == c.KubeconfigSecretName() {
		return plan.Desired{}, stall.Because(v1alpha1.ReasonInvalidSpec,
			"Secret %q would hold both the certificate and the kubeconfig: choose another spec.secretName or spec.kubeconfig.secretName", name)
	}
	role, err := roleOf(c)
	if err != nil {
		return plan.Desired{}, err
	}
	sans, err := credentialSANs(c, role)
	if err != nil {
		return plan.Desired{}, stall.Because(v1alpha1.ReasonInvalidSpec, "%v", err)
	}
	d := plan.Desired{
		Spec: pki.CertificateSpec{
			Subject:  pki.Subject{CommonName: role.CommonNameFor(c.Spec.HostName), Organizations: role.Organizations},
			SANs:     sans,
			Usages:   role.Usages,
			Key:      keySpec(c.Spec.PrivateKey),
			Validity: c.Spec.Validity.Duration,
		},
		RenewBefore:    orZero(c.Spec.RenewBefore),
		RenewalTrigger: c.Spec.Renewal.Trigger,
		Seed:           Seed(c),
		Awaits:         awaits(c),
	}
	return d, Valid(d.Spec)
}

// Of is the certificate that an object asks for which is for a host.
func Of(o v1alpha1.Object) (plan.Desired, error) {
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		return APIServer(o)
	case *v1alpha1.NodeCredential:
		return Credential(o)
	default:
		return plan.Desired{}, fmt.Errorf("%s is for no host", o.Kind())
	}
}

// credentialSANs are the names under which a credential's host serves, if it does. None may be one that something in a cluster trusts
// for what it is called.
func credentialSANs(c *v1alpha1.NodeCredential, role pki.Role) (pki.SANs, error) {
	err := pki.CheckHostName(c.Spec.HostName)
	if err == nil {
		err = pki.CheckCredentialName(c.Spec.HostName)
	}
	if err != nil {
		return pki.SANs{}, fmt.Errorf("spec.hostName: %w", err)
	}
	for _, name := range c.Spec.DNSNames {
		if err := pki.CheckCredentialName(name); err != nil {
			return pki.SANs{}, fmt.Errorf("spec.dnsNames: %w", err)
		}
	}
	names, addresses := c.Spec.DNSNames, c.Spec.IPAddresses
	if c.Spec.Role == v1alpha1.RoleCustom && slices.Contains(role.Usages, pki.ServerAuth) && len(names) == 0 {
		return pki.SANs{}, errors.New("spec.dnsNames: must hold a name for usage 'ServerAuth': where a certificate has none, OpenSSL and GnuTLS " +
			"take its common name for the server's (RFC 6125, section 6.4.4)")
	}
	if role.LoopbackSANs {
		names = append([]string{"localhost"}, names...)
		addresses = append([]string{"127.0.0.1", "::1"}, addresses...)
	}
	sans, err := pki.NewSANs(names, addresses)
	if err != nil || !role.HostSAN {
		return sans, err
	}
	return sans.WithHost(c.Spec.HostName)
}

func roleOf(c *v1alpha1.NodeCredential) (pki.Role, error) {
	if c.Spec.Role != v1alpha1.RoleCustom {
		role, ok := pki.LookupRole(string(c.Spec.Role))
		if !ok {
			return pki.Role{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.role %q is not known to this version of the operator", c.Spec.Role)
		}
		return role, nil
	}
	if c.Spec.Custom == nil {
		return pki.Role{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.custom must be set for role 'Custom'")
	}
	role, err := pki.CustomRole(c.Spec.Custom.CommonName, c.Spec.Custom.Organizations, usages(c.Spec.Custom.Usages))
	if err != nil {
		return pki.Role{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.custom: %v", err)
	}
	return role, nil
}

func usages(in []v1alpha1.KeyUsage) []pki.Usage {
	out := make([]pki.Usage, 0, len(in))
	for _, u := range in {
		out = append(out, pki.Usage(u))
	}
	return out
}

// Valid refuses what cannot be issued.
func Valid(s pki.CertificateSpec) error {
	if err := s.Validate(); err != nil {
		return stall.Because(v1alpha1.ReasonInvalidSpec, "%v", err)
	}
	return nil
}

// Endpoint is how clients reach an API server, and by which name they verify it.
type Endpoint struct{ URL, TLSServerName string }

// localRoles are the roles whose clients use the API server of their own host, where it has a localEndpoint.
var localRoles = []v1alpha1.Role{"ControllerManager", "Scheduler", "Kubelet"}

// EndpointFor is that of an APIServerCertificate for a credential that names it.
func EndpointFor(c *v1alpha1.NodeCredential, server *v1alpha1.APIServerCertificate) Endpoint {
	if server.Spec.LocalEndpoint != "" && server.Spec.HostName == c.Spec.HostName && slices.Contains(localRoles, c.Spec.Role) {
		return Endpoint{URL: server.Spec.LocalEndpoint}
	}
	return Endpoint{server.Spec.Endpoint, server.Spec.TLSServerName}
}

// EmbeddedKubeconfig is the form of a credential's kubeconfig with everything embedded.
func EmbeddedKubeconfig(c *v1alpha1.NodeCredential, of Endpoint, ca, cert, key []byte) ([]byte, error) {
	p := kubeconfigParams(c, of)
	p.CA, p.Certificate, p.Key = kubeconfig.Material{PEM: ca}, kubeconfig.Material{PEM: cert}, kubeconfig.Material{PEM: key}
	text, err := kubeconfig.Render(p)
	if err != nil {
		return nil, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.kubeconfig: %v", err)
	}
	return text, nil
}

// FilesKubeconfig is the form of a credential's kubeconfig that names the files below the directory on the host.
func FilesKubeconfig(c *v1alpha1.NodeCredential, of Endpoint) ([]byte, error) {
	p, dir := kubeconfigParams(c, of), c.Spec.Kubeconfig.Directory
	at := hostfiles.ForRole(string(c.Spec.Role), c.Name).Below(dir)
	p.CA = kubeconfig.Material{Path: path.Join(dir, hostfiles.CA)}
	p.Certificate = kubeconfig.Material{Path: at.Certificate}
	p.Key = kubeconfig.Material{Path: at.Key}
	return kubeconfig.Render(p)
}

// OutputEndpoint is how other programs reach an API server: by a URL of theirs, or with none by the endpoint of all.
func OutputEndpoint(c *v1alpha1.APIServerCertificate, url string) (Endpoint, error) {
	if url == "" {
		return Endpoint{c.Spec.Endpoint, c.Spec.TLSServerName}, nil
	}
	sans, err := apiServerSANs(c)
	if err != nil {
		return Endpoint{}, err
	}
	host, err := pki.EndpointHost(url)
	if err != nil {
		return Endpoint{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.outputs: server: %v", err)
	}
	if !sans.Covers(host) {
		return Endpoint{}, stall.Because(v1alpha1.ReasonEndpointNotCovered,
			"no SAN covers %q, the host of an output's server: add it to dnsNames or ipAddresses of APIServerCertificate %q, or change the output; "+
				"the SANs are %s", host, c.Name, sans)
	}
	return Endpoint{URL: url}, nil
}

// OutputKubeconfig is a credential's kubeconfig for another program, which is nowhere near the host: with everything embedded, by the endpoint of all.
func OutputKubeconfig(c *v1alpha1.NodeCredential, cluster string, of Endpoint, ca, cert, key []byte) ([]byte, error) {
	p := kubeconfigParams(c, of)
	p.ClusterName = cluster
	p.CA, p.Certificate, p.Key = kubeconfig.Material{PEM: ca}, kubeconfig.Material{PEM: cert}, kubeconfig.Material{PEM: key}
	text, err := kubeconfig.Render(p)
	if err != nil {
		return nil, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.outputs: %v", err)
	}
	return text, nil
}

func kubeconfigParams(c *v1alpha1.NodeCredential, of Endpoint) kubeconfig.Params {
	k := c.Spec.Kubeconfig
	return kubeconfig.Params{
		Server: of.URL, TLSServerName: of.TLSServerName, ClusterName: k.ClusterName, ContextName: k.ContextName, UserName: UserName(c), Namespace: k.Namespace,
	}
}

// UserName is how a kubeconfig calls its user: as it was asked for, or as the certificate does.
func UserName(c *v1alpha1.NodeCredential) string {
	if c.Spec.Kubeconfig.UserName != "" {
		return c.Spec.Kubeconfig.UserName
	}
	role, err := roleOf(c)
	if err != nil { // nothing is issued then
		return c.Name
	}
	return role.CommonNameFor(c.Spec.HostName)
}

// AccountKey is the kind of key that a ServiceAccountKey asks for.
func AccountKey(k *v1alpha1.ServiceAccountKey) pki.KeySpec { return keySpec(k.Spec.PrivateKey) }
