package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	// mastersTimeout bounds each rotation.
	mastersTimeout = time.Hour
	// retainOldKey is how long the old service account key stays trusted here: longer than a token of the load is in use.
	retainOldKey = 2 * time.Minute
)

// editPKI edits the ClusterPKI as a person would.
func (d *demo) editPKI(ctx context.Context, patch string) error {
	r := d.rotation
	r.began, r.before = d.Clock.Now(), r.load.Total()
	return d.kubectl(ctx, d.management.kubeconfig(), "patch", "clusterpki", d.pki, "-n", namespace, "--type=merge", "--patch="+patch)
}

// rotateOne rotates one CA, and follows that to its end.
func (d *demo) rotateOne(field, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		r := d.rotation
		r.ca, r.required = d.pki+"-"+name, nil
		if err := d.editPKI(ctx, fmt.Sprintf(`{"spec":{"certificateAuthorities":{%q:{"rotation":{"trigger":"demo"}}}}}`, field)); err != nil {
			return err
		}
		f := &follower{demo: d}
		err := d.each(ctx, func() (bool, error) {
			if d.Clock.Since(r.began) > mastersTimeout {
				return false, fmt.Errorf("the rotation is not over after %v", mastersTimeout)
			}
			return f.look(ctx)
		})
		if err != nil {
			return errors.Join(err, d.printCounts())
		}
		text, err := phasesTable(r.progress, r.required)
		if err != nil {
			return err
		}
		d.say("\n%s\n", text)
		return d.settle(ctx, r.ca+" was rotated")
	}
}

// settle lets the load go on for a while, and says what the rotation has cost.
func (d *demo) settle(ctx context.Context, what string) error {
	if err := d.wait(ctx, calm); err != nil {
		return err
	}
	r := d.rotation
	outages := d.restarter.since(r.began)
	d.say("%s", tellOutages(outages))
	t, before := r.load.Total(), r.before
	d.say("%s in %s: %d requests, %d failed by TLS or authentication, %d failed otherwise, %d cut off and asked again", what,
		d.Clock.Since(r.began).Round(time.Second), t.Requests-before.Requests, t.Refused-before.Refused, t.Failed-before.Failed, t.CutOff-before.CutOff)
	for _, o := range overlaps(outages) {
		if o.component == "kubelet" || o.component == "kube-proxy" { // what runs on a node goes on without them
			continue
		}
		r.problems = append(r.problems, fmt.Errorf("%s: %s on %s was restarted while another one was down", what, o.component, o.host))
	}
	if n := t.Refused - r.before.Refused; n > 0 {
		r.problems = append(r.problems, fmt.Errorf("%s: %d requests failed by TLS or authentication", what, n))
	}
	return nil
}

// tellOutages says how often each component was restarted, for how long it was away at most, and how often two of them were at once.
func tellOutages(all []outage) string {
	if len(all) == 0 {
		return "no component was restarted"
	}
	lines := [][]string{{"restarted", "hosts", "longest", "two at once"}}
	var names []string
	for _, o := range all {
		if !slices.Contains(names, o.component) {
			names = append(names, o.component)
		}
	}
	for _, name := range names {
		of := slices.DeleteFunc(slices.Clone(all), func(o outage) bool { return o.component != name })
		var longest time.Duration
		var hosts []string
		for _, o := range of {
			longest = max(longest, o.to.Sub(o.from))
			hosts = append(hosts, o.host)
		}
		lines = append(lines, []string{name, strings.Join(hosts, " "), longest.Round(100 * time.Millisecond).String(), fmt.Sprint(len(overlaps(of)))})
	}
	text, err := table(lines)
	if err != nil {
		return err.Error()
	}
	return text
}

// rotateAccountKey rotates the service account key. The agent of the last master is away until the rotation waits for it alone. A token of the old key is
// accepted by each API server until that key leaves, and refused then.
func (d *demo) rotateAccountKey(ctx context.Context) error {
	old, err := d.issueToken(ctx)
	if err != nil {
		return err
	}
	d.miss(d.places.masters[len(d.places.masters)-1].host)
	patch := fmt.Sprintf(`{"spec":{"serviceAccountKey":{"retainOldKeyFor":%q,"rotation":{"trigger":"demo"}}}}`, retainOldKey)
	if err := d.editPKI(ctx, patch); err != nil {
		return err
	}
	f := &keyFollower{demo: d}
	if err := d.each(ctx, func() (bool, error) { return f.look(ctx, f.switched) }); err != nil {
		return errors.Join(err, d.printCounts())
	}
	if err := d.everywhere(ctx, old, true); err != nil {
		return fmt.Errorf("a token of before the rotation: %w", err)
	}
	d.say("another key signs, and every API server accepts a token of before")
	if err := d.each(ctx, func() (bool, error) { return f.look(ctx, f.retired) }); err != nil {
		return errors.Join(err, d.printCounts())
	}
	if err := d.everywhere(ctx, old, false); err != nil {
		return fmt.Errorf("a token of a key that is gone: %w", err)
	}
	d.say("the old key is gone, and every API server refuses a token of it")
	return d.settle(ctx, "the service account key was rotated")
}

// miss stops the agent of a host.
func (d *demo) miss(host string) {
	d.rotation.absence = absence{host: host, stopped: d.Clock.Now()}
	d.say("the agent of %s is killed", host)
	d.rotation.agents.running[host].Kill()
	delete(d.rotation.agents.running, host)
}

// keyFollower tells of the progress of a ServiceAccountKey.
type keyFollower struct {
	*demo
	line string
	said time.Time
}

// look says what has changed, and whether a state is reached.
func (f *keyFollower) look(ctx context.Context, reached func(*v1alpha1.ServiceAccountKey) bool) (bool, error) {
	r, now := f.rotation, f.Clock.Now()
	if now.Sub(r.began) > mastersTimeout {
		return false, fmt.Errorf("the rotation is not over after %v", mastersTimeout)
	}
	var k v1alpha1.ServiceAccountKey
	if err := f.management.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: f.pki + "-sa"}, &k); err != nil {
		return false, fmt.Errorf("read the ServiceAccountKey: %w", err)
	}
	line := describeKey(&k)
	if line != f.line || now.Sub(f.said) >= reportEvery {
		f.line, f.said = line, now
		t := r.load.Total()
		f.say("%7s  %s | %d requests, %d failed, %d cut off", "+"+now.Sub(r.began).Round(time.Second).String(), line, t.Requests, t.Failures(), t.CutOff)
	}
	if err := f.back(&k, now); err != nil {
		return false, err
	}
	return reached(&k), nil
}

// back starts the agent that is away, once nobody else is waited for.
func (f *keyFollower) back(k *v1alpha1.ServiceAccountKey, now time.Time) error {
	a := &f.rotation.absence
	p := k.Status.Pending
	if a.host == "" || !a.returned.IsZero() || k.Status.Rotation.Phase == "" || !allExpired(p) {
		return nil
	}
	if len(p) != 1 || p[0].Host != a.host {
		return fmt.Errorf("the agent of %s is away, and the rotation waits for %+v", a.host, p)
	}
	a.pending, a.returned = p[0].Name+" on "+p[0].Host+" ("+p[0].Reason+")", now
	f.say("  nothing but the agent of %s is waited for: %s; it is started again", a.host, a.pending)
	return f.startAgent(a.host)
}

// switched says whether another key signs everywhere.
func (keyFollower) switched(k *v1alpha1.ServiceAccountKey) bool {
	return k.Status.Rotation.Phase == "" && len(k.Status.Keys) > 1 && k.Status.Acknowledged != nil && k.Status.Required != nil &&
		*k.Status.Acknowledged == *k.Status.Required
}

// retired says whether no key is left but the one that signs.
func (keyFollower) retired(k *v1alpha1.ServiceAccountKey) bool {
	return k.Status.Rotation.Phase == "" && len(k.Status.Keys) == 1 && k.Status.Keys[0].Number > 1
}

// describeKey tells in one line where a ServiceAccountKey stands.
func describeKey(k *v1alpha1.ServiceAccountKey) string {
	phase := string(k.Status.Rotation.Phase)
	if phase == "" {
		phase = "no rotation"
	}
	var keys, pending []string
	for _, s := range k.Status.Keys {
		keys = append(keys, fmt.Sprintf("%d %s", s.Number, s.State))
	}
	for _, p := range k.Status.Pending {
		pending = append(pending, p.Host+" ("+p.Reason+")")
	}
	text := fmt.Sprintf("%-17s (%s)", phase, strings.Join(keys, ", "))
	if len(pending) > 0 {
		text += ", waits for " + strings.Join(pending, ", ")
	}
	return text
}

// judgeMasters says what was counted, and what must not be.
func (d *demo) judgeMasters(ctx context.Context) error {
	r := d.rotation
	if err := d.printMasters(); err != nil {
		return err
	}
	problems := errors.Join(append(slices.Clone(r.problems), d.mastersRunning(ctx))...)
	t := r.load.Total()
	if t.Refused > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d of %d requests failed by TLS or authentication", t.Refused, t.Requests))
	}
	done := "rotated in full, and edited"
	switch {
	case d.Edits:
		done = "edited"
	case d.Hosts:
		done = fmt.Sprintf("rotated %d times while nodes came and went in each phase", hostsRotations)
	}
	r.outcome = fmt.Sprintf("a cluster of %d masters was %s, and of %d requests none failed by TLS or authentication, and %d otherwise.",
		len(d.places.masters), done, t.Requests, t.Failed)
	return problems
}

// printMasters stops the load and says what it has counted.
func (d *demo) printMasters() error {
	r := d.rotation
	r.load.Stop()
	text, err := countsTable(r.load.Rows(), false)
	if err != nil {
		return err
	}
	d.say("%s", text)
	d.say("connections that an API server refused, and the load balancer led to another one: %d", d.balancer.refused())
	for _, why := range r.load.Reasons()[:min(maxShown, len(r.load.Reasons()))] {
		d.say("%6d × %s, since %s: %s", why.Count, why.Kind, why.First.UTC().Format(time.TimeOnly), why.Text)
	}
	return nil
}

// mastersRunning says whether nodes and pods do their work.
func (d *demo) mastersRunning(ctx context.Context) error {
	c, err := d.newAdmin()
	if err != nil {
		return err
	}
	if err := errors.Join(nodesReady(ctx, c, d.places.nodes), podsRunning(ctx, c, d.pods)); err != nil {
		return err
	}
	d.say("%d nodes are Ready, and %d pods run", len(d.places.nodes), d.pods)
	return nil
}
