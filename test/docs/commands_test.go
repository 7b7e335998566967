package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/cli"
)

var (
	command = regexp.MustCompile(`(?:^|[$(|&;] *|then |do |exec )(?:bin/)?(?:kubectl[ -])?clusterpki((?: +(?:'[^']*'|"[^"]*"|[^ |&;)'"<>]+))*)`)
	flag    = regexp.MustCompile(`^--?[a-zA-Z][a-zA-Z-]*`)
)

// TestCommands looks up every command of clusterpki that a page names, with its flags.
func TestCommands(t *testing.T) {
	for _, p := range pages(t) {
		check := func(line int, text string) {
			for _, problem := range problems(text) {
				t.Errorf("%s:%d: %s", p.Path, line, problem)
			}
		}
		for _, s := range p.Code {
			if strings.HasPrefix(s.Text, "clusterpki ") || strings.HasPrefix(s.Text, "kubectl clusterpki ") {
				check(s.Line, s.Text)
			}
		}
		for _, f := range p.Fences {
			if f.Language != "sh" && f.Language != "console" {
				continue
			}
			for i, line := range strings.Split(f.Text, "\n") {
				check(f.Line+i, line)
			}
		}
	}
}

func TestProblems(t *testing.T) {
	for line, want := range map[string]int{
		"clusterpki status -n prod":                          0,
		"clusterpki satus -n prod":                           1,
		"clusterpki status k8s -n prod --hots x":             1,
		"clusterpki agent config -n prod --host a > f # --x": 0,
		"kubectl clusterpki rotate k8s --appply":             1,
		"x=$(kubectl-clusterpki export --oops)":              1,
		"kubectl get pki -n prod --watch-only":               0,
		"kubectl get secrets -n clusterpki-system --all":     0,
		"clusterpki export --host h --out d | tar --create":  0,
	} {
		if got := problems(line); len(got) != want {
			t.Errorf("%s: %q, want %d", line, got, want)
		}
	}
}

// problems are the commands and flags in a line that clusterpki does not have.
func problems(line string) []string {
	line, _, _ = strings.Cut(line, " #")
	var out []string
	for _, m := range command.FindAllStringSubmatch(line, -1) {
		at := cli.New()
		at.InitDefaultVersionFlag()
		for i, w := range strings.Fields(m[1]) {
			if sub := child(at, w); sub != nil {
				at = sub
				continue
			}
			switch name := flag.FindString(w); {
			case i == 0 && name == "" && w != "completion":
				return append(out, "clusterpki has no command "+w)
			case name != "" && !hasFlag(at, name):
				out = append(out, at.CommandPath()+" has no flag "+name)
			}
		}
	}
	return out
}

func child(c *cobra.Command, name string) *cobra.Command {
	i := slices.IndexFunc(c.Commands(), func(s *cobra.Command) bool { return s.Name() == name || s.HasAlias(name) })
	if i < 0 {
		return nil
	}
	return c.Commands()[i]
}

func hasFlag(c *cobra.Command, name string) bool {
	c.InitDefaultHelpFlag()
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return c.Flag(long) != nil
	}
	return c.Flags().ShorthandLookup(name[1:2]) != nil || c.InheritedFlags().ShorthandLookup(name[1:2]) != nil
}
