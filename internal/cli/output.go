package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/status"
)

// The formats of --output.
const (
	formatText = "text"
	formatWide = "wide"
	formatJSON = "json"
	formatYAML = "yaml"
)

// format is the value of a command's --output: text for people, or the same for programs.
type format struct {
	value string
	may   []string
}

// addFlag gives a command --output, which may be text or one of those named.
func (f *format) addFlag(c *cobra.Command, may ...string) {
	f.value, f.may = formatText, append([]string{formatText}, may...)
	c.Flags().VarP(f, "output", "o", "one of "+strings.Join(f.may, ", "))
	complete := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return f.may, cobra.ShellCompDirectiveNoFileComp
	}
	cobra.CheckErr(c.RegisterFlagCompletionFunc("output", complete)) // fails only for a name that is misspelt here
}

// String, Set and Type make it a flag.
func (f *format) String() string { return f.value }

// Set takes a format that the command has.
func (f *format) Set(value string) error {
	if !slices.Contains(f.may, value) {
		return fmt.Errorf("it may be %s", strings.Join(f.may, ", "))
	}
	f.value = value
	return nil
}

// Type is what help calls the value.
func (f *format) Type() string { return "format" }

// data says whether the output is for programs.
func (f *format) data() bool { return f.value == formatJSON || f.value == formatYAML }

// print writes a value for programs, or the text that stands for it.
func (f *format) print(w io.Writer, value any, text func() (string, error)) error {
	var out []byte
	var err error
	switch f.value {
	case formatJSON:
		out, err = json.MarshalIndent(value, "", "  ")
		out = append(escaped(out), '\n')
	case formatYAML:
		out, err = yaml.Marshal(value)
	default:
		var s string
		s, err = text()
		out = []byte(s)
	}
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// header says what the output of a command for programs is.
type header = status.Header

func headerOf(kind string) header { return status.HeaderOf(kind) }
