package agent

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// reloads lets reloads be counted, and fail as long as *failing says so.
func (w *env) reloads() (done *int, failing *error) {
	done, failing = new(int), new(error)
	w.run = func(context.Context, []string) (string, error) {
		*done++
		return "", *failing
	}
	return done, failing
}

// installed is the serial number of the certificate on the disk, "" for none.
func (w *env) installed() string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.cfg.Directory, "pki/kubelet-client.crt"))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return pki.SerialOf(certs[0])
}

// is checks what lies on the disk, what was seen in use, and what is told.
func (w *env) is(installed pki.Leaf, verified bool, told string) {
	w.t.Helper()
	if got, want := w.installed(), pki.SerialOf(installed.Cert); got != want {
		w.t.Fatalf("certificate %s is installed, not %s; the agent says %q\n%s", got, want, w.told(), w.logs)
	}
	rec, _ := w.rec()
	if got := rec.Verified["kubelet-tls"].SerialNumber == pki.SerialOf(installed.Cert); got != verified {
		w.t.Fatalf("verified is %v; the agent says %q\n%s", got, w.told(), w.logs)
	}
	if got := w.told(); told == "" && got != "" || !strings.Contains(got, told) {
		w.t.Fatalf("the agent says %q, not %q", got, told)
	}
}

// passes lets time go by, and looks.
func (w *env) passes(d time.Duration) {
	w.t.Helper()
	w.now.Step(d)
	w.steps()
}

func TestOneChange(t *testing.T) {
	w := newEnv(t)
	done, _ := w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	w.is(first, true, "") // nothing has read a file that was not there
	if *done != 0 {
		t.Errorf("%d reloads of what does not run yet", *done)
	}
	second := w.put(kubeletRequest())
	w.steps()
	w.is(second, true, "")
	w.steps()
	if *done != 1 {
		t.Errorf("%d reloads for one change", *done)
	}
}

// TestWaitsForWhatReloadsItself: what is installed is not in use before a component that reloads by itself has had the time,
// whatever the clock on the wall does, and also for an agent that was started meanwhile.
func TestWaitsForWhatReloadsItself(t *testing.T) {
	w := newEnv(t, func(c *Config) { c.Components = nil })
	w.put(kubeletRequest())
	w.steps()
	second := w.put(kubeletRequest())
	if next := w.steps(); next.Sub(w.now.Now()) != defaultReloadDelay {
		t.Errorf("it looks again in %v", next.Sub(w.now.Now()))
	}
	w.is(second, false, "")
	w.passes(defaultReloadDelay - time.Second)
	w.is(second, false, "")
	w.Agent = w.restarted(w.cfg)
	w.steps()
	w.is(second, false, "")
	w.passes(time.Second)
	w.is(second, true, "")
}

// TestTakesBack: a reload that fails brings the files of before back, and what has read the others is reloaded once more.
func TestTakesBack(t *testing.T) {
	w := newEnv(t)
	done, failing := w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	w.put(kubeletRequest())
	w.run = func(context.Context, []string) (string, error) {
		if *done++; *done == 1 {
			return "no such unit", errors.New("exit status 5")
		}
		return "", nil
	}
	w.steps()
	w.is(first, true, "it was installed and rolled back: reload kubelet: reload-kubelet: exit status 5: no such unit")
	if *done != 2 {
		t.Errorf("%d reloads instead of one that fails and one of what was before", *done)
	}
	w.passes(firstRetry - time.Second)
	w.is(first, true, "it was installed and rolled back")
	*failing = nil
	third := w.put(kubeletRequest()) // another certificate does not wait
	w.steps()
	w.is(third, true, "")
}

// TestTriesAgain: the same files are tried again after a minute, then two.
func TestTriesAgain(t *testing.T) {
	w := newEnv(t)
	w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	second := w.put(kubeletRequest())
	tries, good := 0, false
	w.run = func(context.Context, []string) (string, error) {
		if w.installed() != pki.SerialOf(second.Cert) {
			return "", nil
		}
		if tries++; good {
			return "", nil
		}
		return "", errors.New("exit status 1")
	}
	w.steps()
	for i, wait := range []time.Duration{firstRetry, 2 * firstRetry, 4 * firstRetry} {
		w.is(first, true, "it was installed and rolled back")
		w.passes(wait - time.Second)
		if tries != i+1 {
			t.Fatalf("%d tries before the time", tries)
		}
		w.passes(time.Second)
		if tries != i+2 {
			t.Fatalf("%d tries", tries)
		}
	}
	good = true
	w.passes(8 * firstRetry)
	w.is(second, true, "")
}

// TestTakesBackWhatDoesNotWork: what worked before the swap has to work after it.
func TestTakesBackWhatDoesNotWork(t *testing.T) {
	w := newEnv(t)
	w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	second := w.put(kubeletRequest())
	w.run = func(context.Context, []string) (string, error) {
		w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if pki.SerialOf(r.TLS.PeerCertificates[0]) != pki.SerialOf(first.Cert) {
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			answerAs(rw, r.TLS.PeerCertificates[0])
		})
		return "", nil
	}
	w.steps()
	w.is(second, false, "")
	for range 30 {
		w.passes(10 * time.Second)
	}
	w.is(first, true, "the API server refuses the certificate (401 Unauthorized)") // as it now says before anything is installed
	const why = "with the new files, what worked before them does not: NodeCredential/kubelet: the API server refuses the certificate (401 Unauthorized)"
	if rec, _ := w.rec(); rec.Failed == nil || !strings.Contains(rec.Failed.Reason, why) || !strings.Contains(w.logs.String(), "Took the new files back") {
		t.Errorf("what is remembered is %+v", rec.Failed)
	}
}

// TestReloadsWhatWasLeft: an agent that is killed between the swap and the reload reloads when it is back.
func TestReloadsWhatWasLeft(t *testing.T) {
	w := newEnv(t)
	done, _ := w.reloads()
	w.put(kubeletRequest())
	w.steps()
	ctx, kill := context.WithCancel(t.Context())
	w.run = func(context.Context, []string) (string, error) {
		kill()
		return "", ctx.Err()
	}
	second := w.put(kubeletRequest())
	w.nextStep(ctx, nil)
	w.is(second, false, "")
	w.Agent = w.restarted(w.cfg)
	w.run = func(context.Context, []string) (string, error) {
		*done++
		return "", nil
	}
	w.steps()
	w.is(second, true, "")
	if *done != 1 {
		t.Errorf("%d reloads", *done)
	}
}

// TestAway: while the API server does not answer, what still works stays, and what does not is replaced.
func TestAway(t *testing.T) {
	w := newEnv(t)
	w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	w.server.Close()
	w.put(kubeletRequest())
	w.steps()
	w.is(first, true, "the API server cannot be reached")
	if !strings.Contains(w.logs.String(), "Kept the files of before") {
		t.Error("the log says nothing")
	}
	// The certificate that is there ends before the API server is back.
	w.now.Step(30 * time.Minute)
	pair, key := issue(t, w.now.Now(), kubeletRequest(), w.ca)
	w.putPair(pair, key)
	w.passes(40 * time.Minute)
	w.is(pair, false, "the API server cannot be reached")
}

// brokenDisk is a disk that fails from some moment on.
type brokenDisk struct {
	hostdir.Real
	err *error
}

func (s brokenDisk) Write(name string, data []byte, mode os.FileMode, owner *hostdir.Owner) error {
	if *s.err != nil {
		return &os.PathError{Op: "write", Path: name, Err: *s.err}
	}
	return s.Real.Write(name, data, mode, owner)
}

// TestFullDisk: the files of before stay, the agent says why in words, and goes on when there is space.
func TestFullDisk(t *testing.T) {
	for err, words := range map[error]string{syscall.ENOSPC: "full", syscall.EROFS: "read-only"} {
		t.Run(words, func(t *testing.T) {
			w := newEnv(t)
			w.reloads()
			var broken error
			w.dir = hostdir.New(w.cfg.Directory, hostdir.Options{System: brokenDisk{err: &broken}})
			first := w.put(kubeletRequest())
			w.steps()
			broken = err
			second := w.put(kubeletRequest())
			if next := w.steps(); next.Sub(w.now.Now()) > lastAttempt {
				t.Errorf("it tries again in %v", next.Sub(w.now.Now()))
			}
			w.is(first, true, words)
			if told := w.told(); !strings.Contains(told, w.cfg.Directory) || !strings.Contains(told, "the files that are there stay in use") {
				t.Errorf("it says %q", told)
			}
			broken = nil
			w.passes(lastAttempt)
			w.is(second, true, "")
		})
	}
}

// TestDamage: what somebody has removed or changed is put back.
func TestDamage(t *testing.T) {
	w := newEnv(t)
	w.reloads()
	pair := w.put(kubeletRequest())
	w.steps()
	for _, damage := range []func() error{
		func() error { return os.Remove(filepath.Join(w.cfg.Directory, "pki/kubelet-client.key")) },
		func() error { return os.WriteFile(filepath.Join(w.cfg.Directory, "pki/ca.crt"), nil, 0o600) },
		func() error { return os.Remove(filepath.Join(w.cfg.Directory, "kubelet.conf")) },
		func() error { return os.Remove(filepath.Join(w.cfg.Directory, "..data")) },
		func() error {
			set, err := os.Readlink(filepath.Join(w.cfg.Directory, "..data"))
			if err != nil {
				return err
			}
			return os.RemoveAll(filepath.Join(w.cfg.Directory, set))
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		w.passes(time.Minute)
		w.passes(time.Minute)
		w.is(pair, true, "")
		for _, name := range []string{"pki/kubelet-client.key", "pki/ca.crt", "kubelet.conf"} {
			if text, err := os.ReadFile(filepath.Join(w.cfg.Directory, name)); err != nil || len(text) == 0 {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// TestStuck: a component that has to be restarted, where nobody says how, keeps everything from being acknowledged until somebody does.
func TestStuck(t *testing.T) {
	w := newEnv(t, func(c *Config) { c.Components = nil })
	done, _ := w.reloads()
	w.put(kubeletRequest())
	w.steps()
	w.server.Config.Handler = nil
	other := apiServer(t, w.ca, w.ca, answerAs) // another endpoint: the kubelet reads its kubeconfig only when it starts
	w.server = other
	second := w.put(kubeletRequest())
	w.steps()
	w.passes(10 * time.Minute)
	w.is(second, false, "kubelet must be restarted to read its files, and the agent's configuration does not say how")
	c := w.cfg
	c.Components = []Component{{Name: "kubelet", Command: []string{"reload-kubelet"}}}
	c.complete()
	w.Agent = w.restarted(c)
	w.steps()
	w.passes(10 * time.Minute)
	w.is(second, true, "")
	if *done != 1 {
		t.Errorf("%d reloads", *done)
	}
}

// TestOneAtATime: several components are reloaded in the order of the configuration, each once.
func TestOneAtATime(t *testing.T) {
	w := newEnv(t, func(c *Config) {
		c.Components = []Component{
			{Name: "second", Files: []string{"pki/"}, Command: []string{"b"}}, {Name: "kubelet", When: Always, Command: []string{"a"}},
			{Name: "other", Files: []string{"elsewhere/"}, Command: []string{"c"}},
		}
	})
	var order []string
	running := 0
	w.run = func(_ context.Context, argv []string) (string, error) {
		if running++; running > 1 {
			t.Error("two at once")
		}
		order = append(order, argv[0])
		running--
		return "", nil
	}
	w.put(kubeletRequest())
	w.steps()
	second := w.put(kubeletRequest())
	w.steps()
	w.is(second, true, "")
	if !slices.Equal(order, []string{"b", "a"}) {
		t.Errorf("the reloads are %v", order)
	}
}
