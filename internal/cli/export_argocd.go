package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/outputs"
)

// The formats of `clusterpki export`.
const (
	exportFiles         = "files"
	exportArgoCDCluster = "argocd-cluster"
)

// argoCDFlags say where Argo CD is, and how it is to call the cluster.
type argoCDFlags struct{ namespace, cluster string }

// exportArgoCD prints a credential as the Secret of a cluster in Argo CD's namespace, where the operator writes nothing.
func exportArgoCD(c *cobra.Command, f exportFlags, name string) error {
	reader, namespace, err := f.connect()
	if err != nil {
		return err
	}
	var credential v1alpha1.NodeCredential
	if err := reader.Get(c.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &credential); err != nil {
		return fmt.Errorf("export: read NodeCredential %q: %w", name, err)
	}
	host, err := export.Gather(c.Context(), clientreader.Reader{Client: reader}, namespace, credential.Spec.HostName)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	i := slices.IndexFunc(host.Credentials, func(c export.Credential) bool { return c.Object.Name == name })
	if i < 0 || host.Credentials[i].Kubeconfig == nil || len(host.Credentials[i].TLS[corev1.TLSPrivateKeyKey]) == 0 {
		return fmt.Errorf("export: NodeCredential %q has no kubeconfig with a private key: Argo CD needs one with spec.kubeconfig and keySource "+
			"'Operator'", name)
	}
	of := host.Credentials[i]
	cluster := f.argoCD.cluster
	if cluster == "" {
		cluster = of.Kubeconfig.Params.ClusterName
	}
	form, err := outputs.ArgoCDCluster{
		Name: cluster, Server: of.Kubeconfig.Params.Server, ServerName: of.Kubeconfig.Params.TLSServerName, CA: of.Kubeconfig.CA,
		Cert: of.TLS[corev1.TLSCertKey], Key: of.TLS[corev1.TLSPrivateKeyKey],
	}.Form("cluster-" + namespace + "." + name)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	text, err := yaml.Marshal(form.Secret(f.argoCD.namespace))
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if _, err := c.OutOrStdout().Write(text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
