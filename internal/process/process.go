// Package process runs programs as children that never outlive their parent, with their output in a file.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Spec says what to run.
type Spec struct {
	Name string // for people
	Path string // of the program
	Args []string
	Log  string // the file that gets its output
	Dir  string // where it runs; "": where the parent does
}

// Process is a running child.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

// Start runs a program.
func Start(s Spec) (*Process, error) {
	log, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	// No context: Stop ends the processes, in an order that a context does not know.
	cmd := exec.Command(s.Path, s.Args...) //nolint:gosec,noctx // see above
	p := &Process{spec: s, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, s.Dir
	p.cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		// Linux tells a child of the end of the *thread* that started it, so the thread must stay.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		kill(p.cmd) // what it started, now: later its number may be another's
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// Name is what the process is called.
func (p *Process) Name() string { return p.spec.Name }

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Restart stops the process and starts it again as it was started.
func (p *Process) Restart(grace time.Duration) (*Process, error) {
	p.Stop(grace)
	return Start(p.spec)
}

// Log is the file that holds its output.
func (p *Process) Log() string { return p.spec.Log }

// Failed says whether the process has ended, which none should before it is told to.
func (p *Process) Failed() error {
	select {
	case <-p.done:
		return &EndedError{Name: p.spec.Name, Log: p.spec.Log, Err: p.err}
	default:
		return nil
	}
}

// EndedError says that a process ended by itself.
type EndedError struct {
	Name, Log string
	Err       error // nil: with exit code 0
}

func (e *EndedError) Error() string {
	if e.Err == nil {
		return e.Name + " ended"
	}
	return fmt.Sprintf("%s ended: %v", e.Name, e.Err)
}

func (e *EndedError) Unwrap() error { return e.Err }

// Stop asks the process, and whatever it started, to end, and makes it after the grace period.
func (p *Process) Stop(grace time.Duration) {
	if p.Failed() != nil {
		return
	}
	interrupt(p.cmd)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	kill(p.cmd)
	<-p.done
}

// Kill ends the process, and whatever it started, at once.
func (p *Process) Kill() {
	if p.Failed() == nil {
		kill(p.cmd)
		<-p.done
	}
}

// Tail returns the last lines of a log.
func Tail(log string, lines int) (string, error) {
	text, err := os.ReadFile(log) //nolint:gosec // a log of ours
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the log: %w", err)
	}
	all := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n"), nil
}
