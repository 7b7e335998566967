package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

func day(r *pki.CertificateSpec) { r.Validity = 24 * time.Hour }

// TestStays: where nothing worked before, the new files stay though their reload fails; that is told all the time, tried
// again ever later, and over at once with other files.
func TestStays(t *testing.T) {
	w := newEnv(t)
	w.put(kubeletRequest(func(r *pki.CertificateSpec) { r.Validity = pki.MinValidity }))
	w.steps()
	w.now.Step(time.Hour) // it has expired
	done, failing := w.reloads()
	*failing = errors.New("exit status 1")
	next := w.put(kubeletRequest(day))
	for i := 1; i <= 3; i++ {
		again := w.steps()
		for range 2 { // also when it looks for another reason
			w.is(next, false, "reload kubelet: reload-kubelet: exit status 1")
			w.steps()
		}
		if wait := again.Sub(w.now.Now()); *done != i || wait != time.Minute<<(i-1) {
			t.Errorf("after %d reloads, and not %d, it waits for %v", *done, i, wait)
		}
		w.now.SetTime(again)
	}
	*failing = nil
	last := w.put(kubeletRequest(day))
	w.steps()
	w.is(last, true, "")
}

// TestGoesOnAtOnce: more steps than one look takes are followed by another look.
func TestGoesOnAtOnce(t *testing.T) {
	w := newEnv(t, func(c *Config) {
		for name := range strings.SplitSeq("a b c d e f g h i j k l m", " ") {
			c.Components = append(c.Components, Component{Name: name, Files: []string{"pki/"}, Command: []string{"reload", name}})
		}
	})
	done, _ := w.reloads()
	w.put(kubeletRequest())
	w.steps()
	last := w.put(kubeletRequest())
	looks := 1
	for next := w.steps(); next.Equal(w.now.Now()); next = w.steps() {
		looks++
	}
	w.is(last, true, "")
	if *done != 14 || looks < 2 {
		t.Errorf("there were %d reloads of 14 in %d looks", *done, looks)
	}
}

// TestPassing: what may be over in a moment is no problem yet, and one when it lasts.
func TestPassing(t *testing.T) {
	w := newEnv(t)
	first := w.put(kubeletRequest())
	w.steps()
	w.store.put("kubelet-tls", nil, "it is gone")
	next := w.steps()
	w.is(first, true, "")
	if !next.Equal(w.now.Now().Add(patience)) {
		t.Errorf("it looks again at %v", next)
	}
	w.passes(patience - time.Second)
	w.is(first, true, "")
	w.passes(time.Second)
	w.is(first, true, "it is gone")
}

// TestTakesBackWhatItFound: where another tool has left files, they are what comes back.
func TestTakesBackWhatItFound(t *testing.T) {
	w := newEnv(t)
	found := w.put(kubeletRequest())
	w.steps()
	set, err := w.dir.Current()
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "kubernetes")
	for _, f := range set.Files {
		name := filepath.Join(plain, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(f.Data), w.cfg.Directory, plain)), f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	next := w.cfg
	next.Directory = plain
	w.Agent = w.restarted(next)
	_, failing := w.reloads()
	*failing = errors.New("exit status 1")
	w.put(kubeletRequest())
	w.steps()
	if got := w.installed(); got != pki.SerialOf(found.Cert) {
		t.Errorf("certificate %s is there, and not the one that was found", got)
	}
	if got := w.told(); !strings.Contains(got, "it was installed and rolled back: reload kubelet") {
		t.Errorf("it says %q", got)
	}
}
