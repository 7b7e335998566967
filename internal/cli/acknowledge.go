package cli

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

const acknowledgeLong = `Writes what is in use on a host into spec.delivery.acknowledged of an object with delivery.mode: Manual,
so that the rotation of a CA that waits for it goes on. You name the files as they are on the host, or
copies of them; they are compared with what is issued and published now, and where one differs nothing
is written, and it is said what to bring to the host. Name the files that the processes use, after the
processes have read them.

Of a file only certificates and public keys are read: name no private key. It lists the ClusterCAs and the
objects below them, of an API server's ServiceAccountKey the status, and reads no Secret; a trust ConfigMap
only where a file is to hold the bundles of several ClusterCAs, or holds another one than it should.

Where Argo CD or Flux keeps the object as it is in Git, nothing is written, and what to put into Git is
printed; --force writes all the same. --dry-run only prints it.

`

const acknowledgeExample = `  clusterpki acknowledge nodecred/k8s-node1-kubelet -n prod --tls-crt kubelet.crt --ca-crt ca.crt \
    --installed-kubeconfig kubelet.conf
  clusterpki acknowledge asc/k8s-master -n prod --tls-crt apiserver.crt --ca-crt ca.crt --client-ca-crt client-ca.crt \
    --sa-pub sa.pub
  clusterpki acknowledge clusterca/k8s -n prod --tls-crt ca.crt      # the copy of spec.secretName`

// acknowledgeManager is whom the API server notes down for an acknowledgment.
const acknowledgeManager = "clusterpki-acknowledge"

type acknowledgeFlags struct {
	connection
	tls, ca, clients, header, saPub, kubeconfigFile string
	force, dryRun                                   bool
}

func newAcknowledge() *cobra.Command {
	var f acknowledgeFlags
	c := &cobra.Command{
		Use:   "acknowledge KIND/NAME --tls-crt FILE --ca-crt FILE",
		Short: "Acknowledge what is in use on a host that files are carried to by hand",
		Long: acknowledgeLong + exits(map[int]string{
			0: "it is written; with --dry-run: printed", exitError: "it could not be written",
			exitUnwell: "a file does not hold what is issued now, and nothing was written",
		}),
		Example: acknowledgeExample,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := runAcknowledge(c, f, args); err != nil {
				return fmt.Errorf("acknowledge: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeObject(c)
	flags := c.Flags()
	flags.StringVar(&f.tls, "tls-crt", "", "the `file` with the certificate: tls.crt of the Secret")
	flags.StringVar(&f.ca, "ca-crt", "", "the `file` with the trust bundle: ca.crt of the Secret")
	flags.StringVar(&f.clients, "client-ca-crt", "", "of an API server: the `file` of --client-ca-file, client-ca.crt of the Secret")
	flags.StringVar(&f.header, "requestheader-ca-crt", "", "of an API server: the `file` of --requestheader-client-ca-file")
	flags.StringVar(&f.saPub, "sa-pub", "", "of an API server: the `file` of --service-account-key-file with which it was started, sa.pub of the Secret")
	flags.StringVar(&f.kubeconfigFile, "installed-kubeconfig", "", "of a credential with a kubeconfig: that `file`, with certificates or paths in it")
	flags.BoolVar(&f.force, "force", false, "write even if Argo CD or Flux may revert it")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be written")
	for _, name := range []string{"tls-crt", "ca-crt", "client-ca-crt", "requestheader-ca-crt", "sa-pub", "installed-kubeconfig"} {
		cobra.CheckErr(c.MarkFlagFilename(name)) // fails only for a name that is misspelt above
	}
	return c
}

func runAcknowledge(c *cobra.Command, f acknowledgeFlags, args []string) error {
	kind, name, err := target(args)
	if err != nil {
		return err
	}
	api, namespace, err := f.connect()
	if err != nil {
		return err
	}
	objects, err := readObjects(c.Context(), api, namespace)
	if err != nil {
		return err
	}
	d, err := deliveredBy(objects, kind, name)
	if err != nil {
		return err
	}
	files, err := f.read(d)
	if err != nil {
		return err
	}
	bundles, err := publishedBundles(c.Context(), api, objects, files)
	if err != nil {
		return err
	}
	stated, err := consumers.Acknowledge(files, d.issued, bundles)
	if err != nil {
		return &exit{exitUnwell, "nothing was written: " + strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	if stated.PublicKeysSHA256, err = f.publicKeys(c.Context(), api, d.object); err != nil {
		return err
	}
	return f.write(c, api, d, stated)
}

// delivered is an object whose delivery a person can acknowledge.
type delivered struct {
	object client.Object
	kind   string
	spec   v1alpha1.DeliverySpec
	issued v1alpha1.CertificateStatus
	// tls is the Secret of its certificate, the others are of its kubeconfig.
	tls  string
	uses []consumers.Use
}

// deliveredBy finds an object, and refuses one that acknowledges in another way.
func deliveredBy(objects status.Objects, kind, name string) (delivered, error) {
	d, found := delivered{kind: kind}, false
	for i := range objects.Servers {
		if o := &objects.Servers[i]; kind == status.KindAPIServerCertificate && o.Name == name {
			d, found = delivered{o, kind, o.Spec.Delivery, o.Status.Certificate, o.TLSSecretName(), consumers.UsesOfServer(o)}, true
		}
	}
	for i := range objects.Credentials {
		if o := &objects.Credentials[i]; kind == status.KindNodeCredential && o.Name == name {
			uses := consumers.UsesOfCredential(o, consumers.Specs(objects).ServedBy())
			d, found = delivered{o, kind, o.Spec.Delivery, o.Status.Certificate, o.TLSSecretName(), uses}, true
		}
	}
	for i := range objects.CAs {
		if o := &objects.CAs[i]; kind == status.KindClusterCA && o.Name == name {
			uses := []consumers.Use{{Secret: o.Spec.SecretName, Key: corev1.TLSCertKey, CAs: []string{o.Name}, By: consumers.ByCARef}}
			d, found = delivered{o, kind, o.Spec.Delivery, o.Status.Certificate, o.Spec.SecretName, uses}, true
		}
	}
	switch {
	case kind == kindSecret:
		return d, errors.New("name the object that the Secret was made for, as in nodecredential/NAME")
	case !found:
		return d, fmt.Errorf("there is no %s %q", kind, name)
	case d.tls == "":
		return d, fmt.Errorf("%s %q has no spec.secretName: there is no copy to acknowledge", kind, name)
	case d.spec.Mode != v1alpha1.DeliveryManual:
		return d, fmt.Errorf("delivery.mode of %s %q is %s: only with 'Manual' does a person acknowledge", kind, name, d.spec.Mode)
	}
	return d, nil
}

// read reads a file for each use of an object.
func (f acknowledgeFlags) read(d delivered) ([]consumers.Installed, error) {
	var out []consumers.Installed
	var kc kubeconfig.Current
	for _, u := range d.uses {
		flag, path := f.flagOf(u, d.tls)
		if path == "" {
			return nil, fmt.Errorf("name the file that holds %s of Secret %q on the host, with %s", u.Key, u.Secret, flag)
		}
		text, err := readFile(path)
		if err == nil && u.Secret != d.tls {
			if kc, err = kubeconfig.ParseCurrent(text); err == nil {
				text, path, err = materialOf(kc, u, path)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		certs, err := pki.ParseCertificates(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", flag, path, err)
		}
		out = append(out, consumers.Installed{Use: u, File: path, Certificates: certs})
	}
	return out, nil
}

// flagOf is the flag, and the file that it names, for a use.
func (f acknowledgeFlags) flagOf(u consumers.Use, tls string) (flag, path string) {
	switch {
	case u.Secret != tls:
		return "--installed-kubeconfig", f.kubeconfigFile
	case u.Key == corev1.TLSCertKey:
		return "--tls-crt", f.tls
	case u.Key == consumers.ClientBundleKey:
		return "--client-ca-crt", f.clients
	case u.Key == consumers.HeaderBundleKey:
		return "--requestheader-ca-crt", f.header
	default:
		return "--ca-crt", f.ca
	}
}

// materialOf is what a kubeconfig has for a use, in itself or in the file that it names.
func materialOf(kc kubeconfig.Current, u consumers.Use, path string) (text []byte, from string, err error) {
	m := kc.CA
	if u.Key == corev1.TLSCertKey {
		m = kc.Certificate
	}
	if m.Path == "" {
		return m.PEM, path, nil
	}
	from = m.Path
	if !filepath.IsAbs(from) {
		from = filepath.Join(filepath.Dir(path), from)
	}
	text, err = readFile(from)
	return text, from, err
}

// maxFile bounds a file that is read, in bytes.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB: name a file of certificates", path)
	}
	return os.ReadFile(path) //nolint:gosec,wrapcheck // the user names it, and it names itself
}

// publishedBundles are the bundles of the ClusterCAs that files should hold. A file that holds the bundle that the status of its CA names
// is that bundle, so that who may acknowledge need not read ConfigMaps; only what should hold several bundles, or another one than
// it does, is compared with theirs.
func publishedBundles(ctx context.Context, api client.Client, objects status.Objects, files []consumers.Installed) (map[string][]*x509.Certificate, error) {
	out := map[string][]*x509.Certificate{}
	for _, f := range files {
		for _, name := range f.Use.CAs {
			if _, read := out[name]; read || f.Use.Key == corev1.TLSCertKey {
				continue
			}
			ca := caNamed(objects, name)
			if ca == nil {
				return nil, fmt.Errorf("there is no ClusterCA %q", name)
			}
			alone := len(f.Use.CAs) == 1
			if alone && pki.BundleDigest(f.Certificates) == ca.Status.Trust.BundleSHA256 {
				out[name] = f.Certificates
				continue
			}
			certs, err := publishedBundle(ctx, api, ca)
			if alone && apierrors.IsForbidden(err) {
				return nil, &exit{exitUnwell, fmt.Sprintf("nothing was written: %s does not hold the bundle that the status of ClusterCA %q names: "+
					"bring the present one to the host first (ConfigMap %q has it, which you may not read)", f.File, name, ca.TrustConfigMapName())}
			}
			if err != nil {
				return nil, err
			}
			out[name] = certs
		}
	}
	return out, nil
}

// publishedBundle reads the bundle of a ClusterCA from its trust ConfigMap, where that is what the status says.
func publishedBundle(ctx context.Context, api client.Client, ca *v1alpha1.ClusterCA) ([]*x509.Certificate, error) {
	var published corev1.ConfigMap
	if err := api.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()}, &published); err != nil {
		return nil, fmt.Errorf("read the trust bundle of ClusterCA %q: %w", ca.Name, err)
	}
	certs, err := pki.ParseCertificates([]byte(published.Data[consumers.BundleKey]))
	if err != nil || pki.BundleDigest(certs) != ca.Status.Trust.BundleSHA256 {
		return nil, fmt.Errorf("ConfigMap %q does not hold the bundle that the status of ClusterCA %q names: "+
			"try again once the operator has repaired it", published.Name, ca.Name)
	}
	return certs, nil
}

// write sets the acknowledgment, where nobody would revert it.
func (f acknowledgeFlags) write(c *cobra.Command, api client.Client, d delivered, stated v1alpha1.AcknowledgedDelivery) error {
	spec := map[string]any{"delivery": map[string]any{"acknowledged": stated}}
	text, err := yaml.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("encode the acknowledgment: %w", err)
	}
	tool, mark := rotate.GitOps(d.object)
	if f.dryRun {
		fmt.Fprint(c.OutOrStdout(), string(text))
		return nil
	}
	if tool != "" && !f.force {
		return fmt.Errorf("not written: %s keeps %s %q as it is in Git (%s): put this there, or use --force\n%s", tool, d.kind, d.object.GetName(), mark, text)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": d.object.GetResourceVersion()}, "spec": spec})
	if err != nil {
		return fmt.Errorf("encode the patch: %w", err)
	}
	name := d.object.GetName()
	err = api.Patch(c.Context(), d.object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(acknowledgeManager))
	if apierrors.IsConflict(err) {
		return fmt.Errorf("not written: %s %q has changed since it was read: try again", d.kind, name)
	}
	if err != nil {
		return fmt.Errorf("set spec.delivery.acknowledged of %s %q: %w", d.kind, name, err)
	}
	keys := ""
	if stated.PublicKeysSHA256 != "" {
		keys = ", and its service account keys,"
	}
	fmt.Fprintf(c.OutOrStdout(), "%s/%s: certificate %s and the trust bundles of %d ClusterCAs%s are acknowledged.\n",
		d.kind, name, stated.SerialNumber, len(stated.Trust), keys)
	return nil
}
