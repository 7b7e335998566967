package agent

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

// object is one NodeCredential or APIServerCertificate whose files lie on this host.
type object struct {
	name    string // for people, such as 'NodeCredential/k8s-node1-kubelet'
	subject delivery.Subject
	lease   string   // the Lease to report in
	secrets []string // the one of the certificate first
	cred    *Credential
	api     *APIServer
	expect  expectation
}

// objects are those of a configuration: the API server first.
func (c *Config) objects() ([]object, error) {
	var out []object
	if s := c.APIServer; s != nil {
		o := object{name: "APIServerCertificate/" + s.Name, lease: s.SecretName, secrets: []string{s.SecretName}, api: s}
		o.subject = delivery.Subject{Kind: v1alpha1.KindAPIServerCertificate, Namespace: c.Namespace, Name: s.Name, Host: c.Host}
		if name := o.accountsSecret(); name != "" {
			o.secrets = append(o.secrets, name)
		}
		name, err := pki.EndpointHost(s.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("apiServer.endpoint: %w", err)
		}
		o.expect = expectation{subject: pki.Subject{CommonName: c.Host}, usages: []pki.Usage{pki.ServerAuth}, names: []string{name}}
		out = append(out, o)
	}
	for i := range c.Credentials {
		cred := &c.Credentials[i]
		o := object{name: "NodeCredential/" + cred.Name, lease: cred.SecretName, secrets: []string{cred.SecretName}, cred: cred}
		o.subject = delivery.Subject{Kind: v1alpha1.KindNodeCredential, Namespace: c.Namespace, Name: cred.Name, Host: c.Host}
		id, err := cred.identity(c.Host)
		if err != nil {
			return nil, fmt.Errorf("credential %q: %w", cred.Name, err)
		}
		o.expect = expectation{subject: pki.Subject{CommonName: id.CommonName, Organizations: id.Organizations}, usages: id.Usages}
		if id.HostSAN {
			o.expect.names = []string{c.Host}
		}
		out = append(out, o)
	}
	return out, nil
}

// hasKubeconfig says whether the object is a user of the API server, which can be asked about it.
func (o object) hasKubeconfig() bool { return o.cred != nil && o.cred.Kubeconfig }

// externalKey says whether its key never leaves the host.
func (o object) externalKey() bool { return o.cred != nil && o.cred.KeySource == keySourceHost }

// places are where a credential's files lie, below the host's directory.
func (o object) places() hostfiles.Files { return hostfiles.ForRole(o.cred.Role, o.cred.Name) }

// keyPath is where the key of the object's certificate lies, below the host's directory.
func (o object) keyPath() string {
	if o.api != nil {
		return hostfiles.APIServerKey
	}
	return o.places().Key
}

// own are the paths that are this object's alone, and shared those that it may have in common with others.
func (o object) own() (own, shared []string) {
	if o.api != nil {
		return []string{hostfiles.APIServerCert, hostfiles.APIServerKey, hostfiles.ServiceAccKey, hostfiles.ServiceAccPub},
			[]string{hostfiles.CA, hostfiles.ClientCA}
	}
	at := o.places()
	own, shared = []string{at.Certificate, at.Key}, []string{at.CA}
	if o.hasKubeconfig() {
		own, shared = append(own, at.Kubeconfig, at.Embedded), append(shared, hostfiles.CA)
	}
	if o.hasKubeconfig() && hostfiles.MayBringClientCA(o.cred.Role) {
		shared = append(shared, hostfiles.ClientCA)
	}
	return own, shared
}

// files lays out the object's files, and none of another one's, below a directory.
func (o object) files(now time.Time, host, dir string, d delivered) ([]hostdir.File, error) {
	h := export.Host{Name: host}
	if o.api != nil {
		h.APIServer = &export.APIServer{
			Object: &v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Name: o.api.Name}}, TLS: d.tls, ServiceAccounts: d.accounts,
		}
	} else {
		c := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: o.cred.Name}}
		c.Spec.Role, c.Spec.KeySource = v1alpha1.Role(o.cred.Role), v1alpha1.KeySource(o.cred.KeySource)
		cred := export.Credential{Object: c, TLS: d.tls}
		if k := d.Kubeconfig; k != nil && o.hasKubeconfig() {
			cred.Kubeconfig = &export.Kubeconfig{
				Params: kubeconfig.Params{
					Server: k.Server, TLSServerName: k.TLSServerName, ClusterName: k.ClusterName, ContextName: k.ContextName, UserName: k.UserName,
					Namespace: k.Namespace,
				},
				CA: d.tls[serverKey], Certificate: d.tls[corev1.TLSCertKey],
			}
		}
		h.Credentials = []export.Credential{cred}
	}
	laid, err := export.Files(h, dir, now)
	if err != nil {
		return nil, err
	}
	var out []hostdir.File
	for _, f := range laid {
		out = append(out, hostdir.File{Path: f.Path, Mode: f.Mode, Data: f.Data})
	}
	if o.externalKey() {
		out = append(out, hostdir.File{Path: o.places().Key, Mode: 0o600, Data: d.tls[corev1.TLSPrivateKeyKey]})
	}
	return out, nil
}
