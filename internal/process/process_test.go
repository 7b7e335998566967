package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Spec{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEndsByItself(t *testing.T) {
	p := shell(t, "echo one; echo two; echo three; exit 3")
	<-p.done
	var ended *EndedError
	if err := p.Failed(); !errors.As(err, &ended) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Failed() = %v, want an EndedError with exit status 3", err)
	}
	tail, err := Tail(p.Log(), 2)
	if err != nil || tail != "two\nthree" {
		t.Errorf("Tail = %q, %v", tail, err)
	}
	p.Stop(time.Second) // harmless
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	dir := t.TempDir()
	// A child that ignores being asked, and a grandchild.
	p := shell(t, "trap '' TERM; sleep 60 & echo $! > "+dir+"/pid; touch "+dir+"/up; wait; sleep 60")
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(dir, "up")); err == nil {
			break
		}
		if i > 200 {
			t.Fatal("the script did not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := p.Failed(); err != nil {
		t.Fatalf("it runs, but Failed() = %v", err)
	}
	p.Stop(50 * time.Millisecond)
	if p.Failed() == nil {
		t.Error("it still runs")
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if state := stateOf(t, strings.TrimSpace(string(pid))); state != "" && state != "Z" {
		t.Errorf("the grandchild is left in state %s", state)
	}
}

// stateOf is the state of a process as /proc has it, "" for none.
func stateOf(t *testing.T, pid string) string {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Fatal("this test reads /proc, which only Linux has; so does the demo: run it there")
	}
	for range 50 { // a killed process takes a moment to go
		text, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return ""
		}
		if fields := strings.Fields(string(text)); fields[2] == "Z" {
			return "Z"
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "alive"
}

func TestBinariesPrefersAssets(t *testing.T) {
	own, assets := t.TempDir(), t.TempDir()
	t.Setenv(Assets, assets)
	program := func(dir, name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	etcd, kubectl := program(assets, "etcd"), program(own, "kubectl")
	program(own, "etcd")
	for name, want := range map[string]string{"etcd": etcd, "kubectl": kubectl} {
		if got, err := (Binaries{own}).Find(name); err != nil || got != want {
			t.Errorf("Find(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := (Binaries{own}).Find("kubelet"); err == nil || !strings.Contains(err.Error(), "hack/kubernetes/build.sh kubelet") {
		t.Errorf("a missing program: %v", err)
	}
}
