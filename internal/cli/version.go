package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildInfo is what `clusterpki version -o json` prints. Fields are added to it, and none is renamed.
type buildInfo struct {
	header
	// Version is the tag of a release, else the commit, else 'devel'.
	Version string `json:"version"`
	// Commit is the commit that was built, and Modified whether there were changes beside it; absent where the build
	// does not know, as without git.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	// Go is the version of the compiler.
	Go string `json:"go"`
	// Platform is the system and the processor, as in 'linux/amd64'.
	Platform string `json:"platform"`
}

func newVersion() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: cobra.NoArgs,
		Long:    "Shows the version, the commit, the compiler and the platform of this program. It asks no cluster.\n\n" + exits(nil),
		Example: "  clusterpki version\n  clusterpki version -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			info := build()
			return output.print(c.OutOrStdout(), info, func() (string, error) {
				text := fmt.Sprintf("clusterpki %s\n", info.Version)
				if info.Commit != "" && info.Commit != info.Version {
					text += fmt.Sprintf("commit     %s\n", info.Commit)
				}
				return text + fmt.Sprintf("built by   %s for %s\n", info.Go, info.Platform), nil
			})
		},
	}
	output.addFlag(c, formatJSON, formatYAML)
	return c
}

func build() buildInfo {
	b := buildInfo{
		header: headerOf("Version"), Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	switch v := info.Main.Version; {
	case v != "" && v != "(devel)":
		b.Version = v
	case b.Commit != "":
		b.Version = b.Commit
	default:
		b.Version = "devel"
	}
	return b
}
