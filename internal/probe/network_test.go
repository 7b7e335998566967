package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"reflect"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// startProber runs a Prober on the real network and the real clock until the test ends.
func startProber(t *testing.T) *Prober {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := New(Options{Allow: atLoopback.Allow})
	stopped := make(chan error)
	go func() { stopped <- p.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return p
}

// await waits until what is seen is as wanted, but for At. Its bound only says that this never happens.
func await(t *testing.T, p *Prober, want Observation) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		got := p.Observation(key)
		got.At = time.Time{}
		if reflect.DeepEqual(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it sees %+v\nnot %+v", got, want)
		}
	}
}

// TestReplicas follows two API servers through a rotation of their CA, one behind the other.
func TestReplicas(t *testing.T) {
	old, next, front := newCA(t, "k8s-ca"), newCA(t, "k8s-ca g2"), newCA(t, "front-proxy-ca")
	before, after := newLeaf(t, old, ecdsa256), newLeaf(t, next, ecdsa256)
	servers := []*server{
		serve(t, "127.0.0.1:0", config(before, old, front)),
		serve(t, "127.0.0.1:0", config(before, front, old)), // the order tells nothing
	}
	slices.SortFunc(servers, func(a, b *server) int { return bytes.Compare([]byte(a.address), []byte(b.address)) })
	p := startProber(t)
	p.Set(key, Target{Addresses: []string{servers[1].address, servers[0].address}, Interval: time.Millisecond})
	settled := func(leaf pki.Leaf, cas ...pki.CA) Observation {
		return Observation{Settled: true, LeafSHA256: pki.FingerprintOf(leaf.Cert), ClientCAs: subjects(cas...)}
	}
	lags := func(what Difference, how string) Observation {
		return Observation{Problems: []string{fmt.Sprintf("%s: %s than %s", servers[1].address, how, servers[0].address)}, Differs: what}
	}
	await(t, p, settled(before, old, front))
	servers[0].reload(config(before, old, next, front))
	await(t, p, lags(DifferentClientCAs, "names other client CAs"))
	servers[1].reload(config(before, old, next, front))
	await(t, p, settled(before, old, next, front))
	servers[0].reload(config(after, old, next, front))
	await(t, p, lags(DifferentLeaf, "serves another certificate"))
	servers[1].reload(config(after, old, next, front))
	await(t, p, settled(after, old, next, front))
	for _, s := range servers {
		s.reload(config(after, next, front))
	}
	await(t, p, settled(after, next, front))
	open := config(after, next, front)
	open.ClientAuth = tls.NoClientCert
	servers[0].reload(open)
	await(t, p, Observation{Problems: []string{servers[0].address + ": it asks for no client certificate"}})
}

// TestSilentReplica is one that accepts connections and never answers.
func TestSilentReplica(t *testing.T) {
	t.Parallel() // it waits, for as long as Timeout
	ca := newCA(t, "k8s-ca")
	s, silent, down := serve(t, "127.0.0.1:0", config(newLeaf(t, ca, ecdsa256), ca)), mute(t), closedPort(t)
	p := startProber(t)
	p.Set(key, Target{Addresses: []string{s.address, silent, down}, Interval: time.Millisecond})
	want := []string{silent + ": no answer in time", down + ": connection refused"}
	slices.Sort(want)
	await(t, p, Observation{Problems: want})
}

// TestNothingIsLeft ends a Prober in mid-handshake and finds none of its goroutines and connections.
func TestNothingIsLeft(t *testing.T) {
	var open atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	address := accept(t, "127.0.0.1:0", func(c net.Conn) {
		if c.Read(make([]byte, 1)); open.Add(1) == 3 {
			cancel()
		}
		c.Read(make([]byte, 1<<20))
		c.Read(make([]byte, 1)) // until the other end is closed
		open.Add(-1)
	})
	p := New(Options{Allow: atLoopback.Allow})
	for i := range 3 {
		p.Set(Key{Name: fmt.Sprint(i)}, Target{Addresses: []string{address}})
	}
	if err := p.Start(ctx); err != nil {
		t.Error(err)
	}
	var left bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&left, 1); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(left.Bytes(), []byte("probe.(*Prober)")) || bytes.Contains(left.Bytes(), []byte("probe.Dialer")) {
		t.Errorf("there are left:\n%s", left.Bytes())
	}
	for deadline := time.Now().Add(time.Minute); open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left open", open.Load())
		}
	}
}

// BenchmarkDial tells what one attempt costs: time, the processor's time at both ends together, and bytes on the wire.
// The server has an ECDSA certificate and names three CAs.
func BenchmarkDial(b *testing.B) {
	ca := newCA(b, "k8s-ca")
	c := config(newLeaf(b, ca, ecdsa256), ca, newCA(b, "k8s-ca g2"), newCA(b, "front-proxy-ca"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b.Run(tls.VersionName(version), func(b *testing.B) {
			c := c.Clone()
			c.MinVersion, c.MaxVersion = version, version
			var in, out atomic.Int64
			var last sync.WaitGroup
			address := accept(b, "127.0.0.1:0", func(raw net.Conn) {
				conn := tls.Server(&counted{raw, &in, &out}, c)
				conn.Read(make([]byte, 1)) // the handshake, and until the client says goodbye
				last.Done()
			})
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				last.Add(1)
				if _, err := atLoopback.Dial(b.Context(), address, ""); err != nil {
					b.Fatal(err)
				}
			}
			last.Wait()
			n := float64(b.N)
			b.ReportMetric(float64(processorTime(b)-before)/n, "cpu-ns/op")
			b.ReportMetric(float64(in.Load())/n, "sent-B/op")
			b.ReportMetric(float64(out.Load())/n, "received-B/op")
		})
	}
}

type counted struct {
	net.Conn
	in, out *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
