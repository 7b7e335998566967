// Package target starts the components of a Kubernetes cluster from the directories that
// `clusterpki export` wrote, with the flags that it wrote, on this machine: every host on a loopback address.
package target

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"clusterpki.io/operator/internal/process"
)

// Grace is how long a component may take to stop.
const Grace = 5 * time.Second

// Runner starts components and stops them in the opposite order.
type Runner struct {
	Binaries process.Binaries
	Data     string // where components keep what they write
	Logs     string

	mu         sync.Mutex // components may be restarted by another goroutine
	running    []*process.Process
	restarting map[string]bool // processes that are to end, and to be started again
}

// Place is where a component listens, in place of what its exported flags say.
type Place struct {
	Address string
	Port    int // 0: the component's usual one
}

// Host is one host: what was exported for it, and where it is to be.
type Host struct {
	Name      string
	Directory string // holds its files
}

// flags reads the exported flags of a component.
func (h Host) flags(component string) ([]string, error) {
	path := filepath.Join(h.Directory, "args", component)
	text, err := os.ReadFile(path) //nolint:gosec // what the caller exported
	if err != nil {
		return nil, fmt.Errorf("host %s is not to run %s: %w", h.Name, component, err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), nil
}

// flag returns the value of one exported flag.
func (h Host) flag(component, name string) (string, error) {
	flags, err := h.flags(component)
	if err != nil {
		return "", err
	}
	prefix := "--" + name + "="
	i := slices.IndexFunc(flags, func(f string) bool { return strings.HasPrefix(f, prefix) })
	if i < 0 {
		return "", fmt.Errorf("args/%s of host %s has no %s", component, h.Name, prefix)
	}
	return strings.TrimPrefix(flags[i], prefix), nil
}

// start runs a program with the exported flags of a component, and then with flags that win over them.
func (r *Runner) start(h Host, component, program string, overrides ...string) error {
	flags, err := h.flags(component)
	if err != nil {
		return err
	}
	path, err := r.Binaries.Find(program)
	if err != nil {
		return err
	}
	p, err := process.Start(process.Spec{
		Name: h.process(component), Path: path, Args: append(flags, overrides...), Dir: r.Data,
		Log: filepath.Join(r.Logs, h.Name+"-"+component+".log"),
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = append(r.running, p)
	return nil
}

// process is the name of a component's process.
func (h Host) process(component string) string { return component + " on " + h.Name }

// Restart stops a component of a host, which gets so much time to end in order, and starts it again with the flags that it had.
func (r *Runner) Restart(h Host, component string, grace time.Duration) error {
	p, err := r.begin(h.process(component))
	if err != nil {
		return err
	}
	again, err := p.Restart(grace)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.restarting, p.Name())
	if err != nil {
		return err
	}
	i := slices.Index(r.running, p)
	if i < 0 { // everything was stopped meanwhile
		again.Stop(Grace)
		return fmt.Errorf("%s is not to run any more", p.Name())
	}
	r.running[i] = again
	return nil
}

// begin notes that a process is to be restarted, and returns it.
func (r *Runner) begin(name string) (*process.Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.running, func(p *process.Process) bool { return p.Name() == name })
	if i < 0 || r.restarting[name] {
		return nil, fmt.Errorf("there is no %s to restart", name)
	}
	if r.restarting == nil {
		r.restarting = map[string]bool{}
	}
	r.restarting[name] = true
	return r.running[i], nil
}

// Runs says whether a component of a host was started.
func (r *Runner) Runs(h Host, component string) bool {
	_, ok := r.PIDs()[h.process(component)]
	return ok
}

// Revive starts every component again that has ended by itself, and returns their names.
func (r *Runner) Revive() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for i, p := range r.running {
		if p.Failed() == nil || r.restarting[p.Name()] {
			continue
		}
		again, err := p.Restart(Grace)
		if err != nil {
			return out, err
		}
		r.running[i], out = again, append(out, p.Name())
	}
	return out, nil
}

// PIDs are the process ids of the components, by '<component> on <host>'.
func (r *Runner) PIDs() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for _, p := range r.running {
		out[p.Name()] = p.PID()
	}
	return out
}

// Failed says whether a component has ended.
func (r *Runner) Failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.running {
		if err := p.Failed(); err != nil && !r.restarting[p.Name()] {
			return err
		}
	}
	return nil
}

// StopHost stops every component of a host, the last one first.
func (r *Runner) StopHost(h Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := func(p *process.Process) bool { return strings.HasSuffix(p.Name(), h.process("")) }
	for _, p := range slices.Backward(r.running) {
		if of(p) {
			p.Stop(Grace)
		}
	}
	r.running = slices.DeleteFunc(r.running, of)
}

// Stop stops every component, the last one first.
func (r *Runner) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range slices.Backward(r.running) {
		p.Stop(Grace)
	}
	r.running = nil
}

// Poll asks until the answer is nil, the context ends, or a component does. Its error is the last answer.
func (r *Runner) Poll(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ended := r.Failed(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, err)
		case <-tick.C:
		}
	}
}

func (p Place) flags() []string {
	flags := []string{"--bind-address=" + p.Address}
	if p.Port != 0 {
		flags = append(flags, "--secure-port="+strconv.Itoa(p.Port))
	}
	return flags
}

// hostPort is the place with the component's usual port if it has none of its own.
func (p Place) hostPort(usual int) string {
	if p.Port != 0 {
		usual = p.Port
	}
	return net.JoinHostPort(p.Address, strconv.Itoa(usual))
}
