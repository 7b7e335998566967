package cli

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// pluginFile is the name under which kubectl finds the program as its plugin.
const pluginFile = "kubectl-clusterpki"

// Named returns the root command as it was started: under the name by which kubectl finds its plugins it is
// `kubectl clusterpki`, with what people use and without what runs for long; else `clusterpki`. argv0 is os.Args[0].
func Named(argv0 string) *cobra.Command {
	name := filepath.Base(argv0)
	if strings.EqualFold(filepath.Ext(name), ".exe") {
		name = name[:len(name)-len(".exe")]
	}
	root := New()
	if name != pluginFile {
		return root
	}
	for _, c := range root.Commands() {
		switch c.Name() {
		case "manager", "demo":
			root.RemoveCommand(c)
		case "agent": // what prepares a host stays
			c.Use, c.Short, c.Long, c.Example, c.RunE = "agent", "Prepare the agent of a host", agentSetUpLong, agentSetUpExample, nil
			c.ResetFlags()
		}
	}
	root.Use = pluginFile
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl clusterpki"}
	rename(root)
	return root
}

// rename makes the texts of a command and of those below it say how the plugin is called.
func rename(c *cobra.Command) {
	c.Long, c.Example = pluginText(c.Long), pluginText(c.Example)
	for _, below := range c.Commands() {
		rename(below)
	}
}

// called is the program's name where a command of it follows.
var called = regexp.MustCompile("(^|[ '`])clusterpki (status|inspect|rotate|export|backup|agent|completion|version|dashboard)\\b")

func pluginText(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.Contains(line, "clusterpki agent --config") { // which runs on a host
			lines[i] = called.ReplaceAllString(line, "${1}kubectl clusterpki ${2}")
		}
	}
	return strings.Join(lines, "\n")
}
