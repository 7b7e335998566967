package attacks_test

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/testenv"
)

// witness sees everything that any Secret of the namespace ever holds, for however short a time.
type witness struct {
	*victim
	mu   sync.Mutex
	seen [][]byte
}

func (v *victim) watch() *witness {
	v.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v.t.Cleanup(cancel)
	stream, err := admin.Watch(ctx, &corev1.SecretList{}, client.InNamespace(v.ns))
	v.must(err)
	w := &witness{victim: v}
	go func() {
		for e := range stream.ResultChan() {
			if s, ok := e.Object.(*corev1.Secret); ok {
				w.mu.Lock()
				for _, value := range s.Data {
					w.seen = append(w.seen, value)
				}
				w.mu.Unlock()
			}
		}
	}()
	return w
}

// saw says whether a text ever stood in a Secret, as it is or in a kubeconfig. It waits until the witness has seen all that was
// written before.
func (w *witness) saw(text []byte) bool {
	w.t.Helper()
	last := []byte(rand.Text())
	mark := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "mark-", Namespace: w.ns}, Data: map[string][]byte{"mark": last}}
	w.must(admin.Create(w.t.Context(), mark))
	testenv.Eventually(w.t, "the witness has seen what was written last", func() error {
		if !w.remembers(last) {
			return errMissing
		}
		return nil
	})
	return w.remembers(text)
}

func (w *witness) remembers(text []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.seen, func(value []byte) bool { return holds(value, text) })
}
