package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/export"
)

const exportLong = `Writes the files of one host: the certificates and keys of its credentials at kubeadm's
places, both forms of each kubeconfig, and for each component that the host has a credential for
the flags it needs on Kubernetes 1.37, one a line, in args/<component>.

It reads the NodeCredentials and the APIServerCertificate whose hostName is HOST, and their
Secrets, with your own kubeconfig; nothing in the cluster changes. Unless all of them are Ready,
and hold the trust bundles that their ClusterCAs publish, it writes nothing and says which one is
not, and why. Keys and kubeconfigs get mode 0600.

Flags and kubeconfigs of the path form name the files where they will lie on the host:
--directory, by default spec.kubeconfig.directory of the credentials (/etc/kubernetes).

With --format argocd-cluster it writes no files. It prints, for Argo CD, the Secret of a cluster
with the NodeCredential of that name: who may write in Argo CD's namespace applies it, since the
operator writes nothing there. It holds the private key, and is printed again after each renewal.`

const exportExample = `  # the files of a node, then onto it
  clusterpki export -n prod --host k8s-node1 --out k8s-node1
  rsync -rlp k8s-node1/ root@k8s-node1:/etc/kubernetes/

  # start a kubelet with exactly the flags that it needs
  xargs kubelet < /etc/kubernetes/args/kubelet

  # files that will be used from where they are written
  clusterpki export -n prod --host k8s-master --out "$PWD/k8s-master" --directory "$PWD/k8s-master"

  # the cluster for an Argo CD in namespace argocd
  clusterpki export -n prod --format argocd-cluster prod-k8s-master-admin | kubectl apply -f -`

type exportFlags struct {
	connection
	host, out, directory, format string
	argoCD                       argoCDFlags
	output                       format
}

// exported is what `clusterpki export -o json` prints. Fields are added to it, and none is renamed.
type exported struct {
	header
	Host string `json:"host"`
	// Directory is where the files were written.
	Directory string         `json:"directory"`
	Files     []exportedFile `json:"files"`
	Notes     []string       `json:"notes"`
}

// exportedFile is one of them; what it holds is not printed.
type exportedFile struct {
	Path string `json:"path"` // below the directory
	Mode string `json:"mode"` // as in '0600'
}

func newExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:     "export (--host HOST --out DIR | --format argocd-cluster NODECREDENTIAL)",
		Short:   "Write the certificates, kubeconfigs and flags of one host to a directory",
		Long:    exportLong + "\n\n" + exits(map[int]string{0: "the files are written", exitError: "nothing is written, and why"}),
		Example: exportExample,
		Args:    func(c *cobra.Command, args []string) error { return f.check(c, args) },
		RunE: func(c *cobra.Command, args []string) error {
			if f.format == exportArgoCDCluster {
				return exportArgoCD(c, f, args[0])
			}
			return runExport(c, f)
		},
	}
	f.addFlags(c)
	c.Flags().StringVar(&f.format, "format", exportFiles, "what to export: 'files' of a host, or 'argocd-cluster'")
	c.Flags().StringVar(&f.argoCD.namespace, "argocd-namespace", "argocd", "the namespace of Argo CD, for argocd-cluster")
	c.Flags().StringVar(&f.argoCD.cluster, "cluster-name", "", "the name in Argo CD's list, for argocd-cluster (default: the kubeconfig's cluster)")
	c.Flags().StringVar(&f.host, "host", "", "the host, as in spec.hostName (required for files)")
	c.Flags().StringVar(&f.out, "out", "", "the directory to write; files of other names in it stay (required for files)")
	c.Flags().StringVar(&f.directory, "directory", "",
		"where the files will lie on the host (default: as the credentials say, else /etc/kubernetes)")
	f.output.addFlag(c, formatJSON, formatYAML)
	completeFlag(c, "host", f.hosts)
	cobra.CheckErr(c.MarkFlagDirname("out")) // fails only for a name that is misspelt above
	return c
}

// check refuses what a format does not take.
func (f exportFlags) check(c *cobra.Command, args []string) error {
	switch f.format {
	case exportFiles:
		for _, name := range []string{"host", "out"} {
			if !c.Flags().Changed(name) {
				return fmt.Errorf("--%s must be set", name)
			}
		}
		return cobra.NoArgs(c, args) //nolint:wrapcheck // it is the command's own
	case exportArgoCDCluster:
		if len(args) != 1 || f.host != "" || f.out != "" {
			return errors.New("--format argocd-cluster takes the name of one NodeCredential, and neither --host nor --out")
		}
		return nil
	default:
		return fmt.Errorf("--format must be %q or %q, not %q", exportFiles, exportArgoCDCluster, f.format)
	}
}

func runExport(c *cobra.Command, f exportFlags) error {
	reader, namespace, err := f.connect()
	if err != nil {
		return err
	}
	host, err := export.Gather(c.Context(), clientreader.Reader{Client: reader}, namespace, f.host)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	files, notes, err := export.Layout(host, f.directory, clock.RealClock{}.Now())
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := export.Write(f.out, files); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	notes = append(notes, deliveryNotes(host)...)
	report := exported{header: headerOf("ExportedFiles"), Host: f.host, Directory: f.out, Notes: append([]string{}, notes...)}
	for _, file := range files {
		report.Files = append(report.Files, exportedFile{file.Path, fmt.Sprintf("%04o", file.Mode)})
	}
	return f.output.print(c.OutOrStdout(), report, func() (string, error) { return filesText(f.out, files, notes) })
}

// deliveryNotes names what the rotation of a CA would not wait for: files that are carried by hand, while the
// spec says that something carries them at once.
func deliveryNotes(h export.Host) []string {
	var names []string
	for _, c := range h.Credentials {
		if c.Object.Spec.Delivery.Mode == v1alpha1.DeliveryMounted {
			names = append(names, "NodeCredential "+c.Object.Name)
		}
	}
	if h.APIServer != nil && h.APIServer.Object.Spec.Delivery.Mode == v1alpha1.DeliveryMounted {
		names = append(names, "APIServerCertificate "+h.APIServer.Object.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"the rotation of a CA counts these as delivered ten minutes after it wrote them, wherever the files are: set " +
		"delivery.mode: Manual if you carry them by hand: " + strings.Join(names, ", ")}
}

func filesText(out string, files []export.File, notes []string) (string, error) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range files {
		fmt.Fprintf(t, "%s\t%s\n", f.Mode, filepath.Join(out, f.Path))
	}
	if err := t.Flush(); err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	for _, n := range notes {
		fmt.Fprintln(&b, "note:", n)
	}
	return b.String(), nil
}
