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
// `kubectl clusterpki`, without the operator, which is no tool of a person; else `clusterpki`. argv0 is os.Args[0].
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
		case "manager":
			root.RemoveCommand(c)
		case "agent": // what prepares a host stays
			c.Use, c.Short, c.Long, c.Example, c.RunE = "agent", "Prepare the agent of a host", agentSetUpLong, agentSetUpExample, nil
			c.ResetFlags()
		}
	}
	root.Use = pluginFile
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl clusterpki"}
	commands := []string{"completion"} // which cobra adds later
	for _, c := range root.Commands() {
		commands = append(commands, c.Name())
	}
	rename(root, regexp.MustCompile("(^|[ '`])clusterpki ("+strings.Join(commands, "|")+")\\b"))
	return root
}

// rename makes the texts of a command and of its subcommands say how the plugin is called. called is the program's name
// where a command of the plugin follows.
func rename(c *cobra.Command, called *regexp.Regexp) {
	c.Long, c.Example = pluginText(c.Long, called), pluginText(c.Example, called)
	for _, below := range c.Commands() {
		rename(below, called)
	}
}

func pluginText(text string, called *regexp.Regexp) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.Contains(line, "clusterpki agent --config") { // which runs on a host
			lines[i] = called.ReplaceAllString(line, "${1}kubectl clusterpki ${2}")
		}
	}
	return strings.Join(lines, "\n")
}
