package e2e_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/test/testenv"
)

// kills are how often TestAgentKilledAtAnyMoment kills an agent, on so many hosts side by side: it waits most of the time.
const kills, killedHosts = 204, 6

// TestAgentKilledAtAnyMoment kills agents again and again while their Secrets change all the time: a reader sees whole
// pairs, every file and the right modes throughout, and in the end the agent has caught up.
func TestAgentKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	var reads, writes, installed atomic.Int64
	t.Run("hosts", func(t *testing.T) {
		for n := range killedHosts {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				h := byHand(t)
				h.config.Quiet = metav1.Duration{Duration: time.Millisecond}
				h.put(good(t))
				stop := h.run(agent.Options{})
				h.inUse(handLease)
				stop()
				done := h.busy(&reads, &writes)
				installed.Add(int64(h.killed(n*kills/killedHosts, (n+1)*kills/killedHosts)))
				done()
				last := good(t)
				h.put(last)
				h.run(agent.Options{})
				h.has(last)
				h.wantTidy()
			})
		}
	})
	t.Logf("%d kills, %d writes of the Secrets, %d reads, %d certificates seen after a kill", kills, writes.Load(), reads.Load(), installed.Load())
	if writes.Load() < kills/4 || reads.Load() < kills || installed.Load() < 10 {
		t.Error("that is too little to say anything")
	}
}

// busy reads the host's files and writes its Secrets all the time, until done is called, and counts that.
func (h *host) busy(reads, writes *atomic.Int64) (done func()) {
	h.t.Helper()
	versions := make([]issued, 20)
	for i := range versions {
		versions[i] = good(h.t)
	}
	ended, both := make(chan struct{}), sync.WaitGroup{}
	until := func(do func(i int)) {
		both.Go(func() {
			for i := 0; !h.t.Failed(); i++ {
				select {
				case <-ended:
					return
				default:
					do(i)
				}
			}
		})
	}
	until(func(int) { h.readWhole(); reads.Add(1); time.Sleep(time.Millisecond) })
	until(func(i int) { h.put(versions[i%len(versions)]); writes.Add(1); time.Sleep(100 * time.Millisecond) })
	return func() { close(ended); both.Wait() }
}

// killed starts the agent and kills it, after a time that is another one each time, and says how many certificates it has left.
func (h *host) killed(from, to int) (certificates int) {
	h.t.Helper()
	installed := map[string]bool{}
	for i := from; i < to && !h.t.Failed(); i++ {
		after := time.Duration(i*977%300) * time.Millisecond
		if i%12 == 0 {
			after += time.Second // far enough to sweep and to verify
		}
		cmd := h.process()
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
		h.waitStarted(i - from + 1)
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil {
			h.t.Errorf("it had ended: %v", err)
		}
		if err := wasKilled(cmd.Wait()); err != nil {
			h.t.Error(err)
		}
		installed[string(h.read("pki/kubelet-client.crt"))] = true
	}
	return len(installed)
}

// waitStarted waits until the agent was started so many times.
func (h *host) waitStarted(n int) {
	h.t.Helper()
	testenv.EventuallyEvery(h.t, 10*time.Millisecond, "the agent begins", func() error {
		if got := strings.Count(h.logs.String(), `"msg"="Started"`); got < n+1 { // once within this process
			return fmt.Errorf("it has begun %d times", got)
		}
		return nil
	})
}

// readWhole reads the host's files as components do: each through its path, and a pair through one set.
func (h *host) readWhole() {
	for _, p := range kubeletFiles {
		file, err := os.Open(h.at(p))
		if err != nil {
			h.t.Errorf("read through the path: %v", err)
			return
		}
		info, err := file.Stat()
		if err != nil || info.Size() == 0 || info.Mode().Perm() != modeOf(p) {
			h.t.Errorf("%s is %+v (%v)", p, info, err)
		}
		file.Close()
	}
	set, err := os.Readlink(h.at("..data"))
	if err != nil {
		h.t.Errorf("resolve: %v", err)
		return
	}
	at := h.at(set)
	_, err = tls.LoadX509KeyPair(filepath.Join(at, "pki/kubelet-client.crt"), filepath.Join(at, "pki/kubelet-client.key"))
	if now, e := os.Readlink(h.at("..data")); errors.Is(err, fs.ErrNotExist) && e == nil && now != set {
		return // too slow: it was swapped and swept meanwhile
	}
	if err != nil {
		h.t.Errorf("the pair: %v", err)
	}
}

// wantTidy waits until nothing of what was cut short is left.
func (h *host) wantTidy() {
	h.t.Helper()
	testenv.Eventually(h.t, "nothing is left over", func() error {
		entries, err := os.ReadDir(h.config.Directory)
		if err != nil {
			return err
		}
		sets := map[string]int{}
		for _, e := range entries {
			if kind, _, ok := strings.Cut(strings.TrimPrefix(e.Name(), ".."), "-"); ok && strings.HasPrefix(e.Name(), "..") {
				sets[kind]++
			}
		}
		if sets["set"] != 1 || sets["kept"] > 1 || sets["new"] > 0 || sets["taking"] > 0 {
			return fmt.Errorf("there are %v", sets)
		}
		return nil
	})
}

// TestAgentKilledAtEachStep kills an agent at each step that one change takes on the disk, records and all. The next one
// finishes: the files are the new ones, what reads them was reloaded with them there, and it is in use.
func TestAgentKilledAtEachStep(t *testing.T) {
	t.Parallel()
	var last atomic.Int64
	for batch := 0; last.Load() == 0 && !t.Failed(); batch++ {
		t.Run(fmt.Sprint("batch ", batch), func(t *testing.T) {
			for n := batch*32 + 1; n <= batch*32+32; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					if !killedAt(t, n) && (last.Load() == 0 || int64(n) < last.Load()) {
						last.Store(int64(n))
					}
				})
			}
		})
	}
	t.Logf("%d steps", last.Load()-1)
	if last.Load() < 40 {
		t.Error("so few cannot be all")
	}
}

// killedAt has an agent die before a step of the change from one certificate to another, if it gets that far, and looks
// at what the next one makes of it.
func killedAt(t *testing.T, step int) (killed bool) {
	t.Helper()
	h := byHand(t)
	h.config.Components[0] = agent.Component{Name: "kubelet", When: agent.Always, Command: []string{"sh", "-c",
		fmt.Sprintf("openssl x509 -noout -serial -in %s >> %s", h.at("pki/kubelet-client.crt"), h.reloads())}}
	first, second := good(t), good(t)
	h.put(first)
	stop := h.run(agent.Options{})
	h.has(first)
	stop()
	h.put(second)
	cmd := h.process(dieEnv + "=" + fmt.Sprint(step))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	testenv.Eventually(t, "it is killed or done", func() error {
		select {
		case err := <-ended:
			killed = true
			return wasKilled(err)
		default:
		}
		if r := h.report(handLease); r.Verified == nil || r.Verified.SerialNumber != second.serial {
			return fmt.Errorf("verified is %+v", r.Verified)
		}
		return cmd.Process.Kill()
	})
	h.readWhole()
	if set := string(h.read("pki/kubelet-client.crt")); set != string(first.pair.CertPEM()) && set != string(second.pair.CertPEM()) {
		t.Error("the certificate is neither the one of before nor the new one")
	}
	h.run(agent.Options{})
	h.has(second)
	h.wantTidy()
	text, err := os.ReadFile(h.reloads())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if got := strings.TrimPrefix(lines[len(lines)-1], "serial="); got != second.serial {
		t.Errorf("the last reload was with %s there, and not with %s", got, second.serial)
	}
	if !killed && len(lines) != 1 {
		t.Errorf("it was reloaded %d times for one change", len(lines))
	}
	return killed
}
