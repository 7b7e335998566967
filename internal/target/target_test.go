package target

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/process"
)

// TestRestartAndRevive: a component runs again as it ran, under another process id, and no other one is touched.
func TestRestartAndRevive(t *testing.T) {
	dir := t.TempDir()
	h := Host{Name: "h", Directory: dir}
	ended := filepath.Join(dir, "end")
	if err := os.Mkdir(filepath.Join(dir, "args"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		// One ends by itself, the first time alone.
		"stays": "#!/bin/sh\nexec sleep 600\n", "ends": "#!/bin/sh\n[ -e " + ended + " ] || { touch " + ended + "; exit 3; }\nexec sleep 600\n",
		"args/stays": "--one\n", "args/ends": "--one\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(process.Assets, "")
	r := &Runner{Binaries: process.Binaries{Directory: dir}, Data: dir, Logs: dir}
	t.Cleanup(r.Stop)
	for _, component := range []string{"stays", "ends"} {
		if err := r.start(h, component, component); err != nil {
			t.Fatal(err)
		}
	}
	before := r.PIDs()
	for r.Failed() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	names, err := r.Revive()
	if err != nil || !slices.Equal(names, []string{"ends on h"}) {
		t.Errorf("revived: %v (%v)", names, err)
	}
	if now := r.PIDs(); r.Failed() != nil || now["ends on h"] == before["ends on h"] || now["stays on h"] != before["stays on h"] {
		t.Errorf("the processes are %v, were %v; failed: %v", now, before, r.Failed())
	}
	if err := r.Restart(h, "stays", Grace); err != nil || r.PIDs()["stays on h"] == before["stays on h"] || r.Failed() != nil {
		t.Errorf("it isn't restarted: %v, %v", err, r.Failed())
	}
	if err := r.Restart(h, "nobody", Grace); err == nil {
		t.Error("what doesn't run is restarted")
	}
}
