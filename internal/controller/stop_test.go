package controller_test

import (
	"testing"
	"time"

	"clusterpki.io/operator/test/testenv"
)

// TestStopBeforeItHasStarted stops an operator that waits for what it may not read.
func TestStopBeforeItHasStarted(t *testing.T) {
	w := newWorld(t)
	w.stop()
	op, stop := testenv.RunOperator(t, testenv.As(cfg, w.ns, "nobody"), w.installed.Options)
	select {
	case <-op.Ended():
		t.Fatal("it ended by itself")
	case <-time.After(500 * time.Millisecond):
	}
	stop()
}
