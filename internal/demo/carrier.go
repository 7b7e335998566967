package demo

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/target"
)

// carrier plays the part of the hosts: it brings what the operator issues to their files, as a mounted volume
// would, and restarts what cannot read a changed file.
type carrier struct {
	from    client.Client
	hosts   []target.Host
	clock   clock.PassiveClock
	say     func(string, ...any)
	restart func(target.Host, string) error // nil until the components run

	seen     string                   // the state of the Secrets that was carried last
	held     map[string][]export.File // what lies on each host
	swept    map[string]bool          // whether nothing but that lies there
	waiting  error                    // why something could not be carried yet
	restarts []restart
}

// restart is one start of a component after its first.
type restart struct {
	process string
	at      time.Time
	why     string
}

func newCarrier(from client.Client, hosts []target.Host, c clock.PassiveClock, say func(string, ...any)) *carrier {
	return &carrier{from: from, hosts: hosts, clock: c, say: say, held: map[string][]export.File{}, swept: map[string]bool{}}
}

// visit looks for changes and carries them. Call it every second or so. What is not ready yet waits for a later
// visit: carrier.waiting says why.
func (c *carrier) visit(ctx context.Context) error {
	for _, h := range c.hosts {
		if !c.swept[h.Name] && c.held[h.Name] != nil {
			if err := export.Sweep(h.Directory); err != nil {
				return err
			}
			c.swept[h.Name] = true
		}
	}
	state, err := c.state(ctx)
	if err != nil {
		c.waiting = err
		return nil //nolint:nilerr // the next visit tries again
	}
	if state == c.seen && c.waiting == nil {
		return nil
	}
	c.seen, c.waiting = state, nil
	for _, h := range c.hosts {
		if err := c.carry(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// state tells the versions of everything that may have to be carried.
func (c *carrier) state(ctx context.Context) (string, error) {
	var text strings.Builder
	for _, kind := range []string{"Secret", "ConfigMap"} {
		var l metav1.PartialObjectMetadataList
		l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
		if err := c.from.List(ctx, &l, client.InNamespace(namespace)); err != nil {
			return "", fmt.Errorf("list every %s: %w", kind, err)
		}
		for _, o := range l.Items {
			fmt.Fprintf(&text, "%s/%s=%s\n", kind, o.Name, o.ResourceVersion)
		}
	}
	return text.String(), nil
}

// carry brings one host what has changed for it.
func (c *carrier) carry(ctx context.Context, h target.Host) error {
	gathered, err := export.Gather(ctx, c.from, namespace, h.Name)
	if err != nil {
		c.waiting = err
		return nil //nolint:nilerr // the operator is between two writes: the next visit tries again
	}
	files, _, err := export.Layout(gathered, h.Directory, c.clock.Now())
	if err != nil {
		c.waiting = err
		return nil //nolint:nilerr // as above
	}
	changed := differing(c.held[h.Name], files)
	if len(changed) == 0 {
		return nil
	}
	if err := export.Swap(h.Directory, files); err != nil {
		return err
	}
	before := c.held[h.Name]
	c.held[h.Name], c.swept[h.Name] = files, false
	if before == nil {
		c.say("%-12s %2d files in %s", h.Name, len(files), h.Directory)
		return nil
	}
	c.say("  carried to %s: %s", h.Name, shorten(changed))
	return c.restartFor(h, before, files)
}

// restartFor restarts the components of a host that do not reload the files that have changed.
func (c *carrier) restartFor(h target.Host, before, after []export.File) error {
	if c.restart == nil {
		return nil
	}
	var changed []string
	for _, name := range differing(ordered(before), ordered(after)) {
		changed = append(changed, path.Join(h.Directory, name))
	}
	stale, err := h.Stale(changed)
	if err != nil {
		return err
	}
	for _, s := range stale {
		began := c.clock.Now()
		if err := c.restart(h, s.Component); err != nil {
			return err
		}
		c.note(s.Component+" on "+h.Name, began, "it reads --"+strings.Join(s.Flags, " and --")+" only when it starts")
	}
	return nil
}

func (c *carrier) note(process string, at time.Time, why string) {
	c.restarts = append(c.restarts, restart{process, at, why})
	c.say("  restarted %s: %s", process, why)
}

// ordered are the files with the certificates of each bundle in the order of their bytes: nobody need be restarted
// for another order. The operator changes it when another CA of the bundle begins to sign.
func ordered(files []export.File) []export.File {
	out := slices.Clone(files)
	for i, f := range out {
		certs, err := pki.ParseCertificates(f.Data)
		if err != nil || len(certs) < 2 {
			continue
		}
		slices.SortFunc(certs, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
		out[i].Data = pki.EncodeCertificates(certs...)
	}
	return out
}

// shorten names the first files of a list, and how many more there are. Who reads it knows that a kubeconfig which
// embeds its certificate changes with that.
func shorten(paths []string) string {
	named := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.HasSuffix(p, ".embedded.conf") })
	named = named[:min(4, len(named))]
	text := strings.Join(named, ", ")
	if more := len(paths) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// differing are the paths of the files that are new or another than before, or gone.
func differing(before, after []export.File) []string {
	var out []string
	for _, f := range after {
		i := slices.IndexFunc(before, func(b export.File) bool { return b.Path == f.Path })
		if i < 0 || before[i].Mode != f.Mode || !bytes.Equal(before[i].Data, f.Data) {
			out = append(out, f.Path)
		}
	}
	for _, b := range before {
		if !slices.ContainsFunc(after, func(f export.File) bool { return f.Path == b.Path }) {
			out = append(out, b.Path)
		}
	}
	return out
}
