package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/test/testenv"
)

const (
	operatorChild = "operator"
	socketEnv     = "CLUSTERPKI_BENCH_SOCKET"
)

// state is what the operator says of itself.
type state struct {
	Busy     float64            // objects that wait or are worked on
	Visits   float64            // reconciliations
	Issued   float64            // certificates
	Requests map[string]float64 // to the API server, by verb and resource
	Heap     uint64             // bytes of objects that are in use
}

// counters keeps what is dear to tell, a figure of each object, from the registry, and has the operator's counts apart: to ask
// for them costs next to nothing.
type counters struct {
	ctrlmetrics.RegistererGatherer
	counts *prometheus.Registry
}

func (r counters) Register(c prometheus.Collector) error {
	if _, ok := c.(*metrics.Counts); !ok {
		return nil
	}
	return r.counts.Register(c)
}

// runOperator is the operator as it is shipped, with a socket beside it to ask how it is.
func runOperator() int {
	all := counters{ctrlmetrics.Registry, prometheus.NewRegistry()}
	ctrlmetrics.Registry = all
	listener, err := net.Listen("unix", os.Getenv(socketEnv))
	if err != nil {
		return fail(err)
	}
	var profiled bytes.Buffer
	mux := http.NewServeMux()
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, readState(prometheus.Gatherers{all.RegistererGatherer, all.counts}))
	})
	mux.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) { answer(w, readState(all.counts)) })
	mux.HandleFunc("/collect", func(w http.ResponseWriter, _ *http.Request) {
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		answer(w, state{Heap: m.HeapAlloc})
	})
	mux.HandleFunc("/profile/start", func(_ http.ResponseWriter, _ *http.Request) { _ = pprof.StartCPUProfile(&profiled) })
	mux.HandleFunc("/profile/end", func(w http.ResponseWriter, _ *http.Request) { pprof.StopCPUProfile(); _, _ = profiled.WriteTo(w) })
	go http.Serve(listener, mux) // it ends with the process
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	root := cli.Named("clusterpki")
	root.SetArgs(os.Args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func answer(w io.Writer, s state) { _ = json.NewEncoder(w).Encode(s) } //nolint:errchkjson // the reader sees it

func readState(from prometheus.Gatherer) state {
	s := state{Requests: map[string]float64{}}
	families, err := from.Gather()
	if err != nil {
		return s
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetName() {
			case "workqueue_depth", "controller_runtime_active_workers":
				s.Busy += m.GetGauge().GetValue()
			case "controller_runtime_reconcile_total":
				s.Visits += m.GetCounter().GetValue()
			case "clusterpki_issuances_total":
				s.Issued += m.GetCounter().GetValue()
			case "clusterpki_api_requests_total":
				s.Requests[labels["verb"]+" "+labels["resource"]] += m.GetCounter().GetValue()
			}
		}
	}
	return s
}

// operator is a running one, seen from outside.
type operator struct {
	process
	client http.Client
	stop   func()
}

// startOperator runs the operator as a process of its own.
func (p *plane) startOperator() *operator {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "bench-") // the path of a socket must be short
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	metricsAddress, err := testenv.FreeAddress()
	if err != nil {
		p.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "operator.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	// Nobody reads the metrics, and none are counted without an address.
	cmd := exec.Command(os.Args[0], "manager", "--health-probe-bind-address=0", fmt.Sprintf("--workers=%d", workers),
		"--metrics-bind-address="+metricsAddress, "--metrics-secure=false")
	socket := filepath.Join(dir, "s")
	cmd.Env = append(os.Environ(), childEnv+"="+operatorChild, socketEnv+"="+socket, "KUBECONFIG="+p.kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	o := &operator{process: process{p.t, cmd.Process.Pid}, stop: func() {}}
	o.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	o.stop = func() {
		o.stop = func() {}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			text, _ := os.ReadFile(log.Name())
			p.t.Errorf("the operator ended: %v\n%s", err, text[max(0, len(text)-4000):])
		}
		_ = log.Close()
	}
	p.t.Cleanup(func() { o.stop() })
	p.within(time.Minute, "the operator listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return o
}

// ask asks the operator over its socket.
func (o *operator) ask(path string) []byte {
	o.t.Helper()
	answer, err := o.client.Get("http://operator" + path)
	if err != nil {
		o.t.Fatal(err)
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(answer.Body); err != nil {
		o.t.Fatal(err)
	}
	return body.Bytes()
}

func (o *operator) state(path string) state {
	o.t.Helper()
	var s state
	if err := json.Unmarshal(o.ask(path), &s); err != nil {
		o.t.Fatal(err)
	}
	return s
}

// memory is what it holds when nothing can be freed: of the heap, and resident.
func (o *operator) memory() (heap, rss float64) {
	o.t.Helper()
	return float64(o.state("/collect").Heap), o.rss("VmRSS")
}

// idle waits until nothing has waited or been worked on for a moment, and says since when.
func (p *plane) idle(o *operator, limit time.Duration, more func() bool) time.Time {
	p.t.Helper()
	var since time.Time
	quiet := 0
	p.within(limit, "the operator is idle", func() bool {
		if !more() || o.state("/state").Busy > 0 {
			quiet = 0
			return false
		}
		if quiet == 0 {
			since = time.Now()
		}
		quiet++
		return quiet > 5
	})
	return since
}

// writesAndReads adds requests up; watches are neither.
func writesAndReads(before, after map[string]float64) (writes, reads float64) {
	for key, n := range after {
		verb, _, _ := strings.Cut(key, " ")
		switch verb {
		case "watch":
		case "get", "list":
			reads += n - before[key]
		default:
			writes += n - before[key]
		}
	}
	return writes, reads
}
