package gitops_test

import (
	"fmt"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// waves notes when each CA was Ready first, and when everything else was created, by the API server's own order of
// writes.
type waves struct {
	*cluster
	mu             sync.Mutex
	ready, created map[string]int64
}

func (c *cluster) watchWaves() *waves {
	c.t.Helper()
	w := &waves{cluster: c, ready: map[string]int64{}, created: map[string]int64{}}
	for _, k := range v1alpha1.Kinds() {
		events, err := c.api.Watch(c.t.Context(), k.NewList())
		if err != nil {
			c.t.Fatal(err)
		}
		go func() {
			for event := range events.ResultChan() {
				w.note(event)
			}
		}()
	}
	return w
}

func (w *waves) note(event watch.Event) {
	o, ok := event.Object.(client.Object)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at, _ := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	name := fmt.Sprintf("%T %s", o, o.GetName())
	ca, isCA := o.(*v1alpha1.ClusterCA)
	switch {
	case !isCA && event.Type == watch.Added:
		w.created[name] = at
	case isCA && w.ready[name] == 0 && meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.ReadyCondition):
		w.ready[name] = at
	}
}

// respected: every CA was Ready before anything else came.
func (w *waves) respected() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) != 3 || len(w.created) < 15 {
		w.t.Fatalf("%d CAs were Ready instead of 3, and %d other objects created", len(w.ready), len(w.created))
	}
	for ca, ready := range w.ready {
		for other, created := range w.created {
			if created < ready {
				w.t.Errorf("%s was created at %d, before %s was Ready at %d", other, created, ca, ready)
			}
		}
	}
}
