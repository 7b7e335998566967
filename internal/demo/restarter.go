package demo

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/target"
)

const (
	// restartGrace is how long a component may take to end in order: an API server goes on to serve for shutdownDelay, so that the load balancer notices.
	restartGrace = 30 * time.Second
	// shutdownDelay is how long an API server that is to end goes on to serve.
	shutdownDelay = 3 * time.Second
	// restartTimeout is how long a component may take until it answers again.
	restartTimeout = 90 * time.Second
)

// outage is a component of a host that is restarted: from when it is asked to end to when it answers again.
type outage struct {
	component, host string
	from, to        time.Time // to is zero while it lasts
}

// overlap says whether the same component was down on two hosts at once.
func (o outage) overlap(other outage) bool {
	return o.component == other.component && o.host != other.host &&
		(o.to.IsZero() || other.from.Before(o.to)) && (other.to.IsZero() || o.from.Before(other.to))
}

// overlaps are the outages that overlap another one, each of the pair's later one once.
func overlaps(all []outage) []outage {
	var out []outage
	for i, o := range all {
		if slices.ContainsFunc(all[:i], o.overlap) {
			out = append(out, o)
		}
	}
	return out
}

// restarter restarts components for the agents, as systemd does: whoever asks waits until the component answers.
type restarter struct {
	dir   string // where agents ask, by a file
	clock clock.PassiveClock
	// restart restarts a component of a host, and returns once it answers.
	restart func(ctx context.Context, component, host string) error

	mu      sync.Mutex
	outages []outage
	err     error
	tasks   sync.WaitGroup
}

// command is what an agent runs to restart a component.
func (r *restarter) command(component, host string) []string {
	ask := filepath.Join(r.dir, component+"@"+host)
	return []string{"/bin/sh", "-c", fmt.Sprintf("touch '%s'; while [ -e '%s' ]; do sleep 0.1; done", ask, ask)}
}

// run looks whether an agent asks for something, until the context ends.
func (r *restarter) run(ctx context.Context) {
	asked := map[string]bool{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		entries, err := os.ReadDir(r.dir)
		if err != nil {
			r.fail(err)
		}
		there := map[string]bool{}
		for _, e := range entries {
			there[e.Name()] = true
			if component, host, ok := strings.Cut(e.Name(), "@"); ok && !asked[e.Name()] {
				r.tasks.Go(func() { r.one(ctx, component, host) })
			}
		}
		asked = there
		select {
		case <-ctx.Done():
			r.tasks.Wait()
			return
		case <-tick.C:
		}
	}
}

func (r *restarter) one(ctx context.Context, component, host string) {
	r.mu.Lock()
	i := len(r.outages)
	r.outages = append(r.outages, outage{component: component, host: host, from: r.clock.Now()})
	r.mu.Unlock()
	if err := r.restart(ctx, component, host); err != nil && ctx.Err() == nil {
		r.fail(fmt.Errorf("restart %s on %s: %w", component, host, err))
	}
	r.mu.Lock()
	r.outages[i].to = r.clock.Now()
	r.mu.Unlock()
	if err := os.Remove(filepath.Join(r.dir, component+"@"+host)); err != nil && ctx.Err() == nil {
		r.fail(err)
	}
}

func (r *restarter) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// failed is the first restart that did not work.
func (r *restarter) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// since are the restarts that began at a time or later.
func (r *restarter) since(at time.Time) []outage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.outages), func(o outage) bool { return o.from.Before(at) })
}

// restartable has a host's agent restart each component by the demonstration.
func (d *demo) restartable(c agent.Config, host string) []agent.Component {
	out := slices.Clone(c.Components)
	for i := range out {
		out[i].Systemd, out[i].Command = nil, d.restarter.command(out[i].Name, host)
	}
	return out
}

// restartComponent restarts a component, and waits until it answers.
func (d *demo) restartComponent(ctx context.Context, component, host string) error {
	h := d.host(host)
	if !d.cluster.Runs(h, component) {
		return nil // it is started with the files that are there
	}
	if err := d.cluster.Restart(h, component, restartGrace); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	for {
		err := d.answers(ctx, component, h)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", restartTimeout, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers says whether a component of a host answers.
func (d *demo) answers(ctx context.Context, component string, h target.Host) error {
	address := d.places.of(h.Name).address
	var port int
	switch component {
	case "etcd":
		return h.EtcdAnswers(ctx)
	case "kube-apiserver":
		return h.APIServerAnswers(ctx, target.Place{Address: address, Port: d.places.api})
	case controllerManager:
		port = d.places.manager
	case scheduler:
		port = d.places.scheduler
	case "kubelet":
		port = d.places.kubelet
	default:
		return d.cluster.ProxyHealthy(ctx, target.Place{Address: address, Port: d.places.proxy})
	}
	// Nothing secret is sent, and some serve certificates of their own making.
	unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
	status, err := ask(ctx, "https://"+net.JoinHostPort(address, strconv.Itoa(port))+"/healthz", unverified)
	if err == nil && status != http.StatusOK && component != "kubelet" { // which authenticates whoever asks
		err = fmt.Errorf("it answers %d", status)
	}
	return err
}
