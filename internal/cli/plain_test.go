package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/status"
)

// hostile holds what does something to a terminal, or shows a text otherwise than it is.
var hostile = map[string]string{
	"escape": "\x1b[2J", "title": "\x1b]0;x\x07", "concealed": "\x1b[8m", "8-bit escape": "\u009b2J", "carriage return": "\r", "backspace": "\b",
	"null": "\x00", "delete": "\x7f", "right to left": "\u202e", "isolate": "\u2066", "no width": "\u200b", "mark": "\ufeff", "no UTF-8": "\xff",
}

func TestPlainWriter(t *testing.T) {
	for name, text := range hostile {
		var out bytes.Buffer
		n, err := plain{&out}.Write([]byte("a" + text + "b\tc\n"))
		if err != nil || n != len(text)+5 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if got := out.String(); strings.ContainsFunc(got, hidden) || !strings.HasPrefix(got, "a?") || !strings.HasSuffix(got, "b\tc\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	painted := status.Style{Color: true}
	for _, paint := range []status.Paint{status.Bold, status.Faint, status.Red, status.Green, status.Yellow} {
		text := painted.Colored(paint, "ä └─ 一") + "\n"
		var out bytes.Buffer
		if _, err := (plain{&out}).Write([]byte(text)); err != nil || out.String() != text {
			t.Errorf("%s: %q, %v", paint, out.String(), err)
		}
	}
}

// TestEveryCommandPrintsPlainly runs a command of the program's tree that prints what others wrote.
func TestEveryCommandPrintsPlainly(t *testing.T) {
	for name, text := range hostile {
		var out, errs bytes.Buffer
		root := New()
		root.AddCommand(&cobra.Command{Use: "say", RunE: func(c *cobra.Command, _ []string) error {
			c.Println(text)
			c.PrintErrln(text)
			_, err := c.OutOrStdout().Write([]byte(text))
			return err
		}})
		root.SetOut(&out)
		root.SetErr(&errs)
		root.SetArgs([]string{"say"})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if got := out.String() + errs.String(); strings.ContainsFunc(got, hidden) || !strings.Contains(got, "?") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, c := range New().Commands() {
		if c.PersistentPreRun != nil || c.PersistentPreRunE != nil {
			t.Errorf("%s has a PersistentPreRun, in place of the one that makes it print plainly", c.Name())
		}
	}
}

// TestComplain: an error quotes others, whose colours are none of ours.
func TestComplain(t *testing.T) {
	texts := maps.Clone(hostile)
	texts["a colour of ours"] = "\x1b[31m"
	for name, text := range texts {
		var out bytes.Buffer
		Complain(&out, New(), fmt.Errorf("read %s: it is\n\tnot there", text))
		if got := out.String(); strings.ContainsFunc(got, hidden) || !strings.HasPrefix(got, "clusterpki: read ?") || !strings.HasSuffix(got, ": it is\n\tnot there\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestJSONIsPlainAndTheSame escapes what it must: a program reads the same.
func TestJSONIsPlainAndTheSame(t *testing.T) {
	for name, text := range hostile {
		var out bytes.Buffer
		f := format{value: formatJSON}
		want := metav1.Condition{Message: strings.ToValidUTF8(text, "") + "\U000e0001"}
		if err := f.print(&out, want, nil); err != nil {
			t.Fatal(err)
		}
		var got metav1.Condition
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Message != want.Message {
			t.Errorf("%s: %q became %q: %v", name, want.Message, got.Message, err)
		}
		if strings.ContainsFunc(out.String(), hidden) {
			t.Errorf("%s: %q", name, out.String())
		}
	}
}
