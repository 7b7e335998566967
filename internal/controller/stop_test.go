package controller_test

import (
	"context"
	"testing"
	"time"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestStopBeforeItHasStarted stops an operator that waits for what it may not read.
func TestStopBeforeItHasStarted(t *testing.T) {
	w := newWorld(t)
	w.stop()
	ctx, cancel := context.WithCancel(t.Context())
	mgr, err := controller.New(ctx, testenv.As(cfg, w.ns, "nobody"), controller.Options{Namespace: w.ns, AuthorityNamespace: w.authority})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("it ended by itself: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with an error: %v", err)
	}
}
