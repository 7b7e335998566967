package cli

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestNamed is one program under two names.
func TestNamed(t *testing.T) {
	names := func(c *cobra.Command) []string {
		var out []string
		for _, below := range c.Commands() {
			out = append(out, below.Name())
		}
		return out
	}
	plugin := []string{"acknowledge", "agent", "authority", "backup", "dashboard", "explain", "export", "inspect", "renew", "restore", "rotate", "status", "version"}
	for argv0, want := range map[string]struct {
		called   string
		commands []string
	}{
		"clusterpki":                        {"clusterpki", append([]string{"manager"}, plugin...)},
		"/usr/local/bin/clusterpki":         {"clusterpki", append([]string{"manager"}, plugin...)},
		"/usr/local/bin/kubectl-clusterpki": {"kubectl clusterpki", plugin},
		"kubectl-clusterpki.exe":            {"kubectl clusterpki", plugin},
		"kubectl-clusterpki.EXE":            {"kubectl clusterpki", plugin},
		"":                                  {"clusterpki", append([]string{"manager"}, plugin...)},
	} {
		root := Named(argv0)
		slices.Sort(want.commands)
		if diff := cmp.Diff(want.commands, names(root)); diff != "" || root.DisplayName() != want.called {
			t.Errorf("%q: %q\n%s", argv0, root.DisplayName(), diff)
		}
	}
	if diff := cmp.Diff([]string{"config", "install"}, names(find(t, Named("kubectl-clusterpki"), "agent"))); diff != "" {
		t.Error(diff)
	}
}

func find(t *testing.T, root *cobra.Command, path ...string) *cobra.Command {
	t.Helper()
	c, _, err := root.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// each calls for a command and for all below it.
func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, below := range c.Commands() {
		each(below, do)
	}
}

// TestPluginTexts shows nobody of the plugin a command that does not work as it stands.
func TestPluginTexts(t *testing.T) {
	each(Named("kubectl-clusterpki"), func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.UsageString()+"\n"+c.Long+"\n"+c.Example, "\n") {
			rest := strings.ReplaceAll(line, "kubectl clusterpki", "")
			rest = strings.ReplaceAll(rest, "'clusterpki agent --config FILE'", "") // on a host
			rest = strings.ReplaceAll(rest, "kubectl-clusterpki", "")
			if strings.Contains(rest, "clusterpki ") && !strings.HasPrefix(rest, "clusterpki issues the certificates") {
				t.Errorf("%s: %s", c.CommandPath(), line)
			}
		}
	})
}

// TestExitCodesInHelp finds the exit codes in the help of each command.
func TestExitCodesInHelp(t *testing.T) {
	each(New(), func(c *cobra.Command) {
		if c.Runnable() && !strings.Contains(c.Long, "Exit codes:\n    0  ") {
			t.Errorf("%s has\n%s", c.CommandPath(), c.Long)
		}
	})
}

func TestVersion(t *testing.T) {
	c := start(t, "version", "-o", "json")
	var got map[string]any
	if err := c.end(); err != nil || json.Unmarshal([]byte(c.out.String()), &got) != nil {
		t.Fatal(err, c.out.String())
	}
	if got["version"] == "" || got["go"] != runtime.Version() || got["platform"] != runtime.GOOS+"/"+runtime.GOARCH ||
		got["apiVersion"] != "cli.clusterpki.io/v1alpha1" || got["kind"] != "Version" {
		t.Error(got)
	}
	c = start(t, "version")
	if err := c.end(); err != nil || !strings.HasPrefix(c.out.String(), "clusterpki ") {
		t.Error(err, c.out.String())
	}
}
