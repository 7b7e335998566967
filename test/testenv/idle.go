package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// Requests are what an operator asks of the API server, but for watches.
type Requests struct {
	made, open, statuses atomic.Int64
	conflict             atomic.Pointer[time.Time]
}

// counted counts the requests of a connection.
type counted struct {
	*Requests
	next http.RoundTripper
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "true" {
		return c.next.RoundTrip(r)
	}
	c.made.Add(1)
	if r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, "/status") {
		c.statuses.Add(1)
	}
	c.open.Add(1)
	defer c.open.Add(-1)
	resp, err := c.next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusConflict {
		c.conflict.Store(new(time.Now()))
	}
	return resp, err
}

// Made are how many there were.
func (r *Requests) Made() int64 { return r.made.Load() }

// Statuses are how many of them were writes of a status.
func (r *Requests) Statuses() int64 { return r.statuses.Load() }

// Open are how many have no answer yet.
func (r *Requests) Open() int64 { return r.open.Load() }

const (
	// quiet is how many looks in a row must find nothing.
	quiet = 10
	// afterConflict is for how long an operator that lost a race for a write may wait before it tries again, and longer.
	afterConflict = 1500 * time.Millisecond
)

// Idle ends a test if the operator never comes to have nothing to do in a namespace.
func (o *Operator) Idle(t testing.TB, api client.Reader, namespace string) {
	t.Helper()
	idle, err := o.Idleness(t.Context(), api, namespace, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	EventuallyEvery(t, often/2, "the operator is idle", idle)
}

// Idleness returns a function that says, from the tenth time in a row on, whether the operator has visited every object of a
// namespace since it started, and has nothing left to do. The API server is read by api. Frozen says that its caches are kept from what happens.
func (o *Operator) Idleness(ctx context.Context, api client.Reader, namespace string, frozen func() bool) (func() error, error) {
	objects, err := Objects(ctx, api, namespace)
	if err != nil {
		return nil, err
	}
	n, requests := 0, int64(0)
	return func() error {
		running, visits := o.Progress.Visits()
		made, conflict := o.Requests.Made(), o.Requests.conflict.Load()
		again := conflict != nil && time.Since(*conflict) < afterConflict
		if visits < len(objects) || running > 0 || made != requests || o.Requests.Open() > 0 || again {
			n, requests = 0, made
			return fmt.Errorf("%d visits are under way, %d have ended, %d requests were made", running, visits, made)
		}
		if n++; n < quiet {
			return errors.New("not idle for long enough")
		}
		if frozen() {
			return nil
		}
		err := o.behind(ctx, api, namespace)
		if err != nil {
			n = 0
		}
		return err
	}, nil
}

// behind says what the operator's cache does not have yet: the event of it is on its way, and brings a visit.
func (o *Operator) behind(ctx context.Context, api client.Reader, namespace string) error {
	lists := []func() client.ObjectList{
		func() client.ObjectList { return &corev1.SecretList{} }, func() client.ObjectList { return &corev1.ConfigMapList{} },
		func() client.ObjectList { return &coordinationv1.LeaseList{} },
	}
	for _, k := range v1alpha1.Kinds() {
		lists = append(lists, func() client.ObjectList { return k.NewList() })
	}
	for _, list := range lists {
		live, err := versions(ctx, api, namespace, list())
		if err != nil {
			return err
		}
		cached, err := versions(ctx, o.GetCache(), namespace, list())
		if err != nil {
			return err
		}
		if !maps.Equal(live, cached) {
			return fmt.Errorf("the cache is behind: %v instead of %v", cached, live)
		}
	}
	return nil
}

// versions are the resource versions of what an operator's cache is to hold.
func versions(ctx context.Context, from client.Reader, namespace string, list client.ObjectList) (map[string]string, error) {
	if err := from.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list what the operator's cache is to hold: %w", err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("list what the operator's cache is to hold: %w", err)
	}
	out := map[string]string{}
	for _, item := range items {
		o := item.(client.Object)
		if _, ours := o.(v1alpha1.Object); ours || o.GetLabels()[v1alpha1.ManagedLabel] == v1alpha1.ManagedValue {
			out[fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
		}
	}
	return out, nil
}
