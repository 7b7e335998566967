// Package cli holds clusterpki's commands, one file each.
package cli

import (
	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/version"
)

// New returns the root command.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "clusterpki",
		Short: "Manage the PKI of Kubernetes clusters as custom resources",
		Long: "clusterpki issues the certificates of Kubernetes clusters into Secrets, renders kubeconfigs,\n" +
			"renews them in time and delivers them to hosts, from ClusterPKI objects, or from ClusterCA,\n" +
			"ServiceAccountKey, APIServerCertificate and NodeCredential objects.",
		Version:           version.Get().Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRun:  printPlainly,
	}
	root.AddCommand(newManager(), newStatus(), newInspect(), newExplain(), newRotate(), newRenew(), newAcknowledge(), newExport(), newAuthority(), newBackup(),
		newRestore(),
		newDashboard(), newAgent(), newVersion())
	adviseAll(root)
	return root
}
