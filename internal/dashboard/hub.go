package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

const (
	// settle is how long changes are collected before the page is made anew: it bounds how often that happens.
	settle = 400 * time.Millisecond
	// tick is how often it is made anew without a change: time passes, and certificates expire.
	tick = 30 * time.Second
)

// hub reads the objects from a cache once for everybody, and makes the page once for all who see the same.
type hub struct {
	cache ctrlcache.Cache
	clock clock.PassiveClock

	mu      sync.Mutex
	now     time.Time
	objects status.Objects
	pages   map[string][]byte // of this look, by scope
	changed chan struct{}     // closed by the next look
}

func newHub(c ctrlcache.Cache, clk clock.PassiveClock) *hub {
	return &hub{cache: c, clock: clk, changed: make(chan struct{})}
}

// run looks whenever something changes, until the context ends.
func (h *hub) run(ctx context.Context) error {
	dirty := make(chan struct{}, 1)
	mark := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { mark() }, UpdateFunc: func(any, any) { mark() }, DeleteFunc: func(any) { mark() },
	}
	for _, kind := range []client.Object{
		&v1alpha1.ClusterPKI{}, &v1alpha1.ClusterCA{}, &v1alpha1.ServiceAccountKey{}, &v1alpha1.APIServerCertificate{}, &v1alpha1.NodeCredential{},
	} {
		informer, err := h.cache.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch the objects: %w", err)
		}
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("watch the objects: %w", err)
		}
		defer informer.RemoveEventHandler(registration) //nolint:errcheck // the program ends, or the informer has
	}
	if !h.cache.WaitForCacheSync(ctx) {
		return errors.New("the objects could not be read before the end")
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := h.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-dirty:
			select { // what else changes meanwhile is part of the same look
			case <-ctx.Done():
				return nil
			case <-time.After(settle):
			}
			select {
			case <-dirty:
			default:
			}
		}
	}
}

// look reads the objects, and tells everybody.
func (h *hub) look(ctx context.Context) error {
	var clusters v1alpha1.ClusterPKIList
	var cas v1alpha1.ClusterCAList
	var keys v1alpha1.ServiceAccountKeyList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&clusters, &cas, &keys, &servers, &credentials} {
		// They are the cache's own, and nothing here writes to them.
		if err := h.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("read the objects: %w", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.clock.Now()
	h.objects = status.Objects{
		Clusters: clusters.Items, CAs: cas.Items, Keys: keys.Items, Servers: servers.Items, Credentials: credentials.Items,
	}
	h.pages = map[string][]byte{}
	close(h.changed)
	h.changed = make(chan struct{})
	return nil
}

// ready says whether there was a look.
func (h *hub) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pages != nil
}

// namespaces are those that hold objects, in order.
func (h *hub) namespaces() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.objects.Namespaces()
}

// page is what a viewer sees now, and a channel that is closed when that may have changed.
func (h *hub) page(v Viewer) (page []byte, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	page, ok := h.pages[v.scope()]
	if !ok {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, "live", Build(h.now, within(h.objects, v))); err != nil {
			return nil, nil, fmt.Errorf("make the page: %w", err)
		}
		page = b.Bytes()
		h.pages[v.scope()] = page
	}
	return page, h.changed, nil
}

// within are the objects that a viewer may see.
func within(all status.Objects, v Viewer) status.Objects {
	if v.Everything {
		return all
	}
	var out status.Objects
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(v.Namespaces))) {
		in := all.In(namespace)
		out.Clusters = append(out.Clusters, in.Clusters...)
		out.CAs = append(out.CAs, in.CAs...)
		out.Keys = append(out.Keys, in.Keys...)
		out.Servers = append(out.Servers, in.Servers...)
		out.Credentials = append(out.Credentials, in.Credentials...)
	}
	return out
}
