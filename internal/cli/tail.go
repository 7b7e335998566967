package cli

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// news is what is known of an object now: the object, or nil where there is none, or why that is not known.
type news struct {
	object client.Object
	err    error
	final  bool // asking again would not help
}

// tail reports one object of a kind, given as an empty list, and every change of it, until the context ends. A watch that ends is begun again, after a
// list; between two attempts it waits, from one second on up to half a minute.
func tail(ctx context.Context, api client.WithWatch, kind client.ObjectList, key client.ObjectKey, report func(news)) {
	fresh := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 6, Cap: 30 * time.Second}
	pause := fresh
	for {
		err := tailOnce(ctx, api, kind, key, func(n news) { pause = fresh; report(n) })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			report(news{err: err, final: apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || notInstalled(err)})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.Step()):
		}
	}
}

// tailOnce lists and watches until the watch ends.
func tailOnce(ctx context.Context, api client.WithWatch, kind client.ObjectList, key client.ObjectKey, report func(news)) error {
	list, ok := kind.DeepCopyObject().(client.ObjectList) // what was reported stays as it is
	if !ok {
		return fmt.Errorf("%T is no list", kind)
	}
	only := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{metav1.ObjectNameField: key.Name}}
	if err := api.List(ctx, list, only...); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if len(items) == 0 {
		report(news{})
	}
	for _, item := range items {
		if o, ok := item.(client.Object); ok {
			report(news{object: o})
		}
	}
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}}
	w, err := api.Watch(ctx, list, append([]client.ListOption{from}, only...)...)
	if err != nil {
		return fmt.Errorf("watch %s: %w", key, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Error:
			return fmt.Errorf("watch %s: %w", key, apierrors.FromObject(event.Object))
		case watch.Deleted:
			report(news{})
		default:
			if o, ok := event.Object.(client.Object); ok { // nothing would mean that it was deleted
				report(news{object: o})
			}
		}
	}
	return nil
}
