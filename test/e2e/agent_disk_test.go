package e2e_test

import (
	"io/fs"
	"maps"
	"sync"
	"syscall"
	"testing"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/hostdir"
)

// failing is a disk that takes no writes as long as there is an error.
type failing struct {
	hostdir.System
	mu  sync.Mutex
	err error
}

func (f *failing) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// unless does something, or fails.
func (f *failing) unless(name string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: f.err}
	}
	return do()
}

func (f *failing) Mkdir(name string, mode fs.FileMode, owner *hostdir.Owner) error {
	return f.unless(name, func() error { return f.System.Mkdir(name, mode, owner) })
}

func (f *failing) Write(name string, data []byte, mode fs.FileMode, owner *hostdir.Owner) error {
	return f.unless(name, func() error { return f.System.Write(name, data, mode, owner) })
}

// TestAgentOnABrokenDisk: what goes wrong on the disk reaches the Lease in words, the files stay, and the agent goes on
// when it can.
func TestAgentOnABrokenDisk(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		says []string
	}{
		"full":      {syscall.ENOSPC, []string{"is full", "make room"}},
		"read-only": {syscall.EROFS, []string{"is read-only", "mount it for writing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := byHand(t)
			disk := &failing{System: hostdir.Real{}}
			first := good(t)
			h.put(first)
			h.run(agent.Options{System: disk})
			h.has(first)
			before := h.tree()
			disk.set(c.err)
			second := good(t)
			h.put(second)
			h.complains(handLease, append(c.says, h.config.Directory, "the files that are there stay in use")...)
			if !maps.Equal(before, h.tree()) {
				t.Error("files have changed")
			}
			h.shows(first)
			disk.set(nil)
			h.has(second)
			h.saysNothingOf(second.key)
		})
	}
}
