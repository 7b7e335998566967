package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal: what is written to tty can be read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 80}); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// TestColor colours on a terminal alone, unless the environment says otherwise.
func TestColor(t *testing.T) {
	w := steady(t)
	for name, c := range map[string]struct {
		terminal bool
		env      map[string]string
		color    bool
	}{
		"a terminal":         {true, nil, true},
		"NO_COLOR":           {true, map[string]string{"NO_COLOR": "1"}, false},
		"a dumb terminal":    {true, map[string]string{"TERM": "dumb"}, false},
		"no terminal":        {false, nil, false},
		"forced":             {false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		"not forced":         {false, map[string]string{"CLICOLOR_FORCE": "0"}, false},
		"forced, NO_COLOR":   {false, map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		"terminal, for data": {true, map[string]string{"output": "json"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"NO_COLOR", "CLICOLOR_FORCE"} {
				t.Setenv(name, "")
			}
			t.Setenv("TERM", "xterm")
			args := []string{"--kubeconfig", w.kubeconfig, "-n", w.ns}
			for name, value := range c.env {
				if name == "output" {
					args = append(args, "-o", value)
				}
				t.Setenv(name, value)
			}
			for _, command := range [][]string{{"status"}, {"inspect", "cca/k8s"}, {"rotate", "k8s"}} {
				text := printed(t, c.terminal, append(command, args...))
				if strings.Contains(text, "\x1b[") != c.color || len(text) < 100 {
					t.Errorf("%q: %q", command, text)
				}
			}
		})
	}
}

// printed is what a command prints to a terminal, or to something else.
func printed(t *testing.T, onTerminal bool, args []string) string {
	t.Helper()
	root := New()
	root.SetArgs(args)
	var b strings.Builder
	if !onTerminal {
		root.SetOut(&b)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	screen, tty := terminal(t)
	done := make(chan struct{})
	go func() { _, _ = io.Copy(&b, screen); close(done) }() // ends with EIO when the tty is closed
	root.SetOut(tty)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
	<-done
	return b.String()
}
