// Package export writes the files of one host: the certificates, keys and kubeconfigs that its
// credentials hold, at the places where kubeadm would put them, and each component's flags.
//
// It reads (gather.go), lays out and renders (layout.go, kubeconfigs.go, args_*.go: values in, values out),
// and writes (write.go).
package export

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// caKey is the key of a Secret that holds a bundle.
const caKey = consumers.BundleKey

// Host is everything that is known of one host.
type Host struct {
	Name        string
	APIServer   *APIServer   // that runs on this host; nil for none
	Credentials []Credential // in the order of their names
	Cluster     Cluster
	Notes       []string // what a person should know
}

// APIServer is an APIServerCertificate and its Secrets.
type APIServer struct {
	Object          *v1alpha1.APIServerCertificate
	TLS             map[string][]byte
	ServiceAccounts map[string][]byte // nil where it has none
}

// Credential is a NodeCredential and its Secrets.
type Credential struct {
	Object     *v1alpha1.NodeCredential
	TLS        map[string][]byte
	Kubeconfig *Kubeconfig // nil where it has none
}

// externalKey says that the private key is on the host, and nowhere else.
func (c Credential) externalKey() bool { return c.Object.Spec.KeySource == v1alpha1.KeySourceHost }

// Cluster is what a host's files need to know of the other hosts of its cluster.
type Cluster struct {
	APIServer   *v1alpha1.APIServerCertificate // of the host's kubelet, or on the host itself; nil if unknown
	EtcdServers []v1alpha1.NodeCredential      // of role EtcdServer, on any host
	EtcdPeers   []v1alpha1.NodeCredential      // of role EtcdPeer, on any host
	KubeletCA   []byte                         // verifies the kubelets' servers; nil where they have no certificates
}

// Reader reads a namespace: clientreader.Reader does, by a client. This package brings none along, since it is part of what hosts run.
type Reader interface {
	// List reads all objects of a kind.
	List(ctx context.Context, namespace string, into v1alpha1.ObjectList) error
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// ObjectsIn are those of a namespace.
func ObjectsIn(ctx context.Context, from Reader, namespace string) (Objects, error) {
	var credentials v1alpha1.NodeCredentialList
	var servers v1alpha1.APIServerCertificateList
	var cas v1alpha1.ClusterCAList
	var keys v1alpha1.ServiceAccountKeyList
	for _, l := range []v1alpha1.ObjectList{&credentials, &servers, &cas, &keys} {
		if err := from.List(ctx, namespace, l); err != nil {
			return Objects{}, err
		}
	}
	return Objects{CAs: cas.Items, Servers: servers.Items, Credentials: credentials.Items, Keys: keys.Items}, nil
}

// Gather reads what one host needs. Where something is not to be had yet, the error names it and says why.
func Gather(ctx context.Context, from Reader, namespace, host string) (Host, error) {
	all, err := ObjectsIn(ctx, from, namespace)
	if err != nil {
		return Host{}, err
	}
	slices.SortFunc(all.Credentials, func(a, b v1alpha1.NodeCredential) int { return strings.Compare(a.Name, b.Name) })
	g := gatherer{
		ctx: ctx, from: from, namespace: namespace, all: all,
		servedBy: consumers.Specs{Servers: all.Servers}.ServedBy(), bundles: map[string][]*x509.Certificate{},
	}
	return g.host(host)
}

// gatherer lives for one Gather; ctx is in it because every step reads.
type gatherer struct {
	ctx       context.Context //nolint:containedctx // it lives no longer than the call
	from      Reader
	namespace string
	all       Objects
	servedBy  map[string]string              // the CAs of API servers, by APIServerCertificate
	bundles   map[string][]*x509.Certificate // by ClusterCA, those that Secrets hold and the ClusterCA publishes
	problems  []string
	notes     []string
}

func (g *gatherer) host(name string) (Host, error) {
	h := Host{Name: name}
	for _, p := range g.all.Problems(name) {
		g.problem("%s", p.Text)
	}
	of := g.all.Of(name)
	for i := range of.Servers {
		h.APIServer = g.apiServer(&of.Servers[i])
	}
	for i := range of.Credentials {
		h.Credentials = append(h.Credentials, g.credential(&of.Credentials[i]))
	}
	if h.APIServer == nil && len(h.Credentials) == 0 {
		return Host{}, g.unknownHost(name)
	}
	if len(g.problems) == 0 {
		h.Cluster, h.Notes = g.cluster(h), g.notes
	}
	if len(g.problems) > 0 {
		return Host{}, fmt.Errorf("host %q cannot be exported yet:\n  %s", name, strings.Join(g.problems, "\n  "))
	}
	return h, nil
}

func (g *gatherer) problem(format string, args ...any) {
	g.problems = append(g.problems, fmt.Sprintf(format, args...))
}

func (g *gatherer) apiServer(s *v1alpha1.APIServerCertificate) *APIServer {
	out := &APIServer{Object: s}
	if text, _ := unready(s); text != "" {
		return out
	}
	out.TLS = g.secret(s.TLSSecretName(), corev1.TLSCertKey, corev1.TLSPrivateKeyKey, caKey, consumers.ClientBundleKey)
	g.compareAll(s.TLSSecretName(), out.TLS, consumers.UsesOfServer(s))
	if key := g.all.KeysOf(s); key != nil {
		out.ServiceAccounts = g.accounts(key)
	}
	return out
}

func (g *gatherer) credential(c *v1alpha1.NodeCredential) Credential {
	out := Credential{Object: c}
	if text, _ := unready(c); text != "" {
		return out
	}
	keys, forms := []string{corev1.TLSCertKey, caKey}, []string{"kubeconfig.files", caKey, corev1.TLSCertKey}
	if !out.externalKey() {
		keys, forms = append(keys, corev1.TLSPrivateKeyKey), append(forms, "value")
	}
	out.TLS = g.secret(c.TLSSecretName(), keys...)
	uses := consumers.UsesOfCredential(c, g.servedBy)
	g.compareAll(c.TLSSecretName(), out.TLS, uses)
	if name := c.KubeconfigSecretName(); name != "" {
		data := g.secret(name, forms...)
		g.compareAll(name, data, uses)
		var err error
		if out.Kubeconfig, err = kubeconfigIn(data); err != nil && len(data["kubeconfig.files"]) > 0 {
			g.problem("Secret %q: %v", name, err)
		}
	}
	return out
}

// server is the APIServerCertificate that a credential names; nil for none.
func (g *gatherer) server(c *v1alpha1.NodeCredential) *v1alpha1.APIServerCertificate {
	if c.Spec.APIServerRef == nil {
		return nil
	}
	i := slices.IndexFunc(g.all.Servers, func(s v1alpha1.APIServerCertificate) bool { return s.Name == c.Spec.APIServerRef.Name })
	if i < 0 {
		return nil
	}
	return &g.all.Servers[i]
}

// secret reads a Secret's data; it must hold the given keys.
func (g *gatherer) secret(name string, keys ...string) map[string][]byte {
	s, err := g.from.Secret(g.ctx, g.namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		g.problem("Secret %q does not exist", name)
	case apierrors.IsForbidden(err):
		g.problem("Secret %q may not be read: exporting a host needs 'get' on its Secrets", name)
	case err != nil:
		g.problem("Secret %q cannot be read: %v", name, err)
	default:
		for _, key := range keys {
			if len(s.Data[key]) == 0 {
				g.problem("Secret %q has no %q", name, key)
			}
		}
		return s.Data
	}
	return nil
}

func (g *gatherer) unknownHost(name string) error {
	var hosts []string
	for i := range g.all.Credentials {
		hosts = append(hosts, g.all.Credentials[i].Spec.HostName)
	}
	for i := range g.all.Servers {
		hosts = append(hosts, g.all.Servers[i].Spec.HostName)
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if len(hosts) == 0 {
		return fmt.Errorf("namespace %q holds no NodeCredential and no APIServerCertificate: choose another with --namespace", g.namespace)
	}
	return fmt.Errorf("no NodeCredential or APIServerCertificate in namespace %q is for host %q; there are: %s",
		g.namespace, name, strings.Join(hosts, ", "))
}
