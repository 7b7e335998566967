package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is a running program, measured from outside.
type process struct {
	t   testing.TB
	pid int
}

// clockTick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go knows.
const clockTick = 10 * time.Millisecond

// cpu is its user and system time.
func (p process) cpu() time.Duration {
	p.t.Helper()
	fields := stat(p.file("stat"))
	if len(fields) < 13 {
		p.t.Fatalf("process %d has ended", p.pid)
	}
	ticks := 0
	for _, text := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(text)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// stat returns the fields of /proc/<pid>/stat that follow the program's name, the state first.
func stat(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// rss is its resident set in bytes: "VmRSS" is what it is now, "VmHWM" the highest since resetPeak.
func (p process) rss(kind string) float64 {
	p.t.Helper()
	text, err := os.ReadFile(p.file("status"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), kind+":")
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kib, err := strconv.ParseFloat(number, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib * 1024
}

// resetPeak lets the highest resident set count from now on (proc_pid_clear_refs(5)).
func (p process) resetPeak() {
	p.t.Helper()
	if err := os.WriteFile(p.file("clear_refs"), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}

func (p process) file(name string) string { return filepath.Join("/proc", strconv.Itoa(p.pid), name) }

// childNamed finds the youngest child of this process that runs a program.
func childNamed(t testing.TB, name string) process {
	t.Helper()
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	found, youngest := process{t: t}, -1
	for _, file := range comms {
		comm, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		dir := filepath.Dir(file)
		f := stat(filepath.Join(dir, "stat"))
		if len(f) < 20 || f[0] == "Z" || f[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		started, err := strconv.Atoi(f[19])
		if err != nil {
			t.Fatal(err)
		}
		if started > youngest {
			found.pid, youngest = pid, started
		}
	}
	if found.pid == 0 {
		t.Fatalf("no %s runs", name)
	}
	return found
}

// cost is what a piece of work took: of time, and of CPU in the process that does it and in those it asks.
type cost struct {
	wall                  time.Duration
	worker, server, store time.Duration
}

// spent is the CPU that a worker, the API server and etcd have had so far.
func (p *plane) spent(worker process) cost {
	return cost{worker: worker.cpu(), server: p.apiServer.cpu(), store: p.etcd.cpu()}
}

func (c cost) since(before cost) cost {
	return cost{c.wall - before.wall, c.worker - before.worker, c.server - before.server, c.store - before.store}
}

// perObject is a duration for each of n objects, in milliseconds.
func perObject(d time.Duration, n int) float64 {
	return float64(d.Microseconds()) / 1000 / float64(n)
}

// load says how many processes want to run, by which to judge times.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return fmt.Sprint(strings.Fields(string(text))[0])
}
