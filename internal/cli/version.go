package cli

import (
	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/version"
)

// buildInfo is what `clusterpki version -o json` prints.
type buildInfo struct {
	header
	version.Info
}

func newVersion() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: cobra.NoArgs,
		Long:    "Shows the version, the commit, the compiler and the platform of this program. It asks no cluster.\n\n" + exits(nil),
		Example: "  clusterpki version\n  clusterpki version -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			info := buildInfo{headerOf("Version"), version.Get()}
			return output.print(c.OutOrStdout(), info, func() (string, error) { return info.Text(), nil })
		},
	}
	output.addFlag(c, formatJSON, formatYAML)
	return c
}
