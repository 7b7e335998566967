package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/internal/hostfiles"
)

// effects are what has to follow a change of files.
type effects struct {
	reload       []string // components to reload, in this order
	waits        bool     // whether one reloads by itself, which takes its time
	needsRestart []string // those that have to be reloaded, and nobody says how
}

// effects says what has to follow when the files at some paths change. Components that are not configured and have a
// credential on this host are taken to run.
func (c *Config) effects(changed []string) effects {
	var e effects
	changes := func(paths []string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(changed, p) })
	}
	known := map[string]hostfiles.Component{}
	for _, k := range hostfiles.Components() {
		known[k.Name] = k
		if slices.ContainsFunc(c.Components, func(comp Component) bool { return comp.Name == k.Name }) || !c.runs(k) {
			continue
		}
		if changes(k.Once) {
			e.needsRestart = append(e.needsRestart, k.Name)
		}
		e.waits = e.waits || changes(k.Reloads)
	}
	for _, comp := range c.Components {
		k, ok := known[comp.Name]
		once, reloads := changes(k.Once), changes(k.Reloads)
		if !ok {
			reloads = slices.ContainsFunc(changed, comp.reads)
		}
		if once || reloads && comp.When == Always {
			e.reload = append(e.reload, comp.Name)
		} else if ok {
			e.waits = e.waits || reloads
		}
	}
	e.waits = e.waits || slices.ContainsFunc(changed, c.unaccounted)
	return e
}

// unaccounted says whether a file is read by something that is not known: it may take as long as client-go to notice a change. Only
// kubeconfigs that embed everything are never read again.
func (c *Config) unaccounted(path string) bool {
	if strings.HasSuffix(path, ".embedded.conf") || slices.ContainsFunc(c.Components, func(comp Component) bool { return comp.reads(path) }) {
		return false
	}
	return !slices.ContainsFunc(hostfiles.Components(), func(k hostfiles.Component) bool {
		return (c.component(k.Name) != nil || c.runs(k)) && (slices.Contains(k.Reloads, path) || slices.Contains(k.Once, path))
	})
}

// runs says whether a component is taken to run on the host.
func (c *Config) runs(k hostfiles.Component) bool {
	roles := make([]string, 0, len(c.Credentials))
	for _, cred := range c.Credentials {
		roles = append(roles, cred.Role)
	}
	return k.Runs(roles, c.APIServer != nil)
}

// reads says whether a path is among a component's Files.
func (c Component) reads(path string) bool {
	return slices.ContainsFunc(c.Files, func(f string) bool {
		return f == path || strings.HasSuffix(f, "/") && strings.HasPrefix(path, f)
	})
}

// runner runs a program and returns the end of what it printed.
type runner func(ctx context.Context, argv []string) (string, error)

// run runs a program of the host.
func run(ctx context.Context, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // what the configuration says
	cmd.WaitDelay = time.Second                           // what it has started may hold on to its output
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "client-key-data") {
		text = "it printed a private key, which is not repeated here"
	}
	if at := len(text) - maxOutput; at > 0 {
		text = "..." + text[at:]
	}
	return text, err //nolint:wrapcheck // the caller says what was run
}

// maxOutput is how much of a failed program's output is told.
const maxOutput = 300

// do reloads a component, and says why it could not.
func (c Component) do(ctx context.Context, run runner) error {
	argv := c.Command
	if c.Systemd != nil {
		argv = []string{"systemctl", c.Systemd.Action, c.Systemd.Unit}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Duration)
	defer cancel()
	out, err := run(ctx, argv)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("reload %s: %s did not end within %v", c.Name, argv[0], c.Timeout.Duration)
	default:
		if c.Systemd == nil {
			argv = argv[:1] // what it is given may be secret
		}
		return fmt.Errorf("reload %s: %s: %w: %s", c.Name, strings.Join(argv, " "), err, out)
	}
}

// reloads says whether the configuration says how to reload a component.
func (c *Config) reloads(name string) bool { return c.component(name) != nil }

// reloadable is what has to be reloaded, and what still cannot be, once the configuration may say how.
func (c *Config) reloadable(rec record) (reload, needsRestart []string) {
	reload = slices.Clone(rec.Reload)
	for _, name := range rec.NeedsRestart {
		switch {
		case !c.reloads(name):
			needsRestart = append(needsRestart, name)
		case !slices.Contains(reload, name):
			reload = append(reload, name)
		}
	}
	return reload, needsRestart
}

// component is a configured one by name, nil for none.
func (c *Config) component(name string) *Component {
	i := slices.IndexFunc(c.Components, func(comp Component) bool { return comp.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Components[i]
}
