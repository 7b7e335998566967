package docs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long one fence may take.
const patience = 3 * time.Minute

// session is a shell that runs the fences of a page one after another, so that a variable or a directory lives on.
type session struct {
	d     *fixture
	page  *Page
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	runs  string // the folder of its scripts
}

// mark is what the shell prints at the end of a fence; no command prints it.
const mark = "\x01end of the fence\x01"

func (d *fixture) open(page *Page) (*session, error) {
	s := &session{d: d, page: page, lines: make(chan string, 1000), runs: d.t.TempDir()}
	s.cmd = exec.CommandContext(d.t.Context(), "bash", "--noprofile", "--norc", "-euo", "pipefail", "-E")
	s.cmd.Dir = d.dir
	s.cmd.Env = []string{
		"HOME=" + d.home, "PATH=" + d.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTS=" + d.hosts, "LANG=C.UTF-8", "TERM=dumb",
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
	s.cmd.WaitDelay = 10 * time.Second
	out, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a shell: %w", err)
	}
	_ = w.Close()
	go func() {
		defer close(s.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				s.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	d.t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // with whatever it left in the background
		_ = s.cmd.Wait()
		_ = out.Close()
	})
	return s, nil
}

// run runs a script that stands at a line of the page, and returns what it printed.
func (s *session) run(line int, script string) (string, error) {
	path := filepath.Join(s.runs, s.page.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("write a script: %w", err)
	}
	text := strings.Repeat("\n", line-1) + script // so that the shell's line numbers are the page's
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a script: %w", err)
	}
	trap := `trap 'echo "${BASH_SOURCE[0]#` + s.runs + `/}:$LINENO: ended with $?"' ERR`
	if _, err := fmt.Fprintf(s.in, "set -euo pipefail; %s; source '%s' </dev/null; printf '\\n%s\\n'\n", trap, path, mark); err != nil {
		return "", fmt.Errorf("the shell is gone: %w", err)
	}
	var out strings.Builder
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-s.lines:
			switch {
			case !ok:
				return out.String(), fmt.Errorf("%s:%d: a command fails", s.page.Path, line)
			case l == mark+"\n":
				return strings.TrimSuffix(out.String(), "\n"), nil
			}
			out.WriteString(l)
		case <-timeout:
			return out.String(), fmt.Errorf("%s:%d: no end after %s", s.page.Path, line, patience)
		}
	}
}
