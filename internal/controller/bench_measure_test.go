package controller_test

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	operatormetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// figures are what a piece of work cost this process and the API server.
type figures struct {
	wall, cpu time.Duration
	rss, heap float64 // MB, at their highest; of the objects on the heap, garbage included
	allocated float64 // MB
	visits    float64 // reconciliations
	requests  map[string]float64
	listed    float64 // MB that the API server sent in answers to LIST
}

const mega = 1 << 20

// measure does a piece of work and says what it cost. Requests are the operator's: the work itself only creates or
// edits objects of this test, which are left out.
func (f *fleet) measure(work func()) figures {
	runtime0, requests0, visits0, listed0 := readRuntime(f.t), requests(f.t), f.visitsOf(""), listedBytes(f.t)
	resetPeak(f.t)
	stop, peak := make(chan struct{}), make(chan float64)
	go func() { peak <- highestHeap(stop) }()
	cpu0, start := cpuTime(f.t), time.Now()
	work()
	out := figures{wall: time.Since(start), cpu: cpuTime(f.t) - cpu0, rss: peakRSS(f.t)}
	close(stop)
	out.heap = <-peak
	out.allocated = (readRuntime(f.t) - runtime0) / mega
	out.visits = f.visitsOf("") - visits0
	f.eventsWritten()
	out.listed = (listedBytes(f.t) - listed0) / mega
	out.requests = map[string]float64{}
	for key, n := range requests(f.t) {
		if d := n - requests0[key]; d > 0 && operators(key) {
			out.requests[key] = d
		}
	}
	return out
}

// operators says whether a request is one that the operator makes, neither the test nor the API server itself.
func operators(key string) bool {
	verb, resource, _ := strings.Cut(key, " ")
	resource, sub, _ := strings.Cut(resource, "/")
	switch resource {
	case "secrets", "configmaps", "events":
		return verb != "WATCH"
	case "clustercas", "apiservercertificates", "nodecredentials":
		return sub == "status" || verb == "LIST"
	default:
		return false
	}
}

// eventsWritten waits until the number of events stands still: they are written behind the operator's back.
func (f *fleet) eventsWritten() {
	last, same := -1.0, 0
	f.within(5*time.Minute, func() bool {
		time.Sleep(300 * time.Millisecond)
		now := requests(f.t)
		if n := now["POST events"] + now["PATCH events"]; n != last {
			last, same = n, 0
		}
		same++
		return same > 5
	})
}

// visitsOf counts the reconciliations of a controller, of all for "".
func (f *fleet) visitsOf(controller string) float64 {
	families, err := operatormetrics.Registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	n := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "controller" && (controller == "" || l.GetValue() == controller) {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// listedBytes is how much the API server has sent in answers to LIST of what the operator reads.
func listedBytes(t testing.TB) float64 {
	sum := 0.0
	for key, n := range apiMetric(t, "apiserver_response_sizes_sum") {
		if operators(key) && strings.HasPrefix(key, "LIST ") {
			sum += n
		}
	}
	return sum
}

const heapObjects, heapAllocated = "/memory/classes/heap/objects:bytes", "/gc/heap/allocs:bytes"

// highestHeap samples the heap until it is told to stop, and returns the highest value in MB.
func highestHeap(stop <-chan struct{}) float64 {
	highest := uint64(0)
	sample := []metrics.Sample{{Name: heapObjects}}
	for {
		metrics.Read(sample)
		highest = max(highest, sample[0].Value.Uint64())
		select {
		case <-stop:
			return float64(highest) / mega
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// readRuntime is how many bytes were ever allocated.
func readRuntime(t testing.TB) float64 {
	t.Helper()
	sample := []metrics.Sample{{Name: heapAllocated}}
	metrics.Read(sample)
	return float64(sample[0].Value.Uint64())
}

// resetPeak lets the highest resident set size count from now on (proc_pid_clear_refs(5)).
func resetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peakRSS is the highest resident set size in MB.
func peakRSS(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(text, []byte("VmHWM:"))
	number, _, _ := strings.Cut(strings.TrimSpace(string(after)), " ")
	kilobytes, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes / 1024
}

// cpuTime is the user and system time of this process.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
