// Package cli holds clusterpki's commands, one file each.
package cli

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// New returns the root command.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "clusterpki",
		Short: "Manage the PKI of Kubernetes clusters as custom resources",
		Long: "clusterpki issues the certificates of Kubernetes clusters into Secrets, renders kubeconfigs,\n" +
			"renews them in time and delivers them to hosts, from ClusterCA, APIServerCertificate and\n" +
			"NodeCredential objects.",
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.AddCommand(newManager(), newStatus(), newRotate(), newExport(), newBackup(), newAgent(), newDemo())
	return root
}

// version is what the build stamped: a tag for a release, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "devel"
}
