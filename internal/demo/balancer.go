package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// balancerInterval is how often the balancer asks each API server whether it is ready.
	balancerInterval = 200 * time.Millisecond
	// balancerTimeout bounds that question, and a connection to a server.
	balancerTimeout = 3 * time.Second
)

// balancer is a load balancer of TCP connections in front of several API servers. It looks at no certificate: it passes on what clients and servers say.
type balancer struct {
	listener net.Listener
	servers  []*balanced
	next     atomic.Uint32
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

// balanced is a server behind a balancer.
type balanced struct {
	address string
	ready   atomic.Bool
	failed  atomic.Int64 // connections that it refused, and another server took
}

// startBalancer listens at an address, and asks each server at its /readyz whether it is to get connections.
func startBalancer(ctx context.Context, address string, servers []string) (*balancer, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start the load balancer: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &balancer{listener: l, cancel: cancel}
	for _, s := range servers {
		b.servers = append(b.servers, &balanced{address: s})
	}
	for _, s := range b.servers {
		b.tasks.Go(func() { s.check(ctx) })
	}
	b.tasks.Go(func() { b.accept(ctx) })
	return b, nil
}

// stop ends it, with every connection.
func (b *balancer) stop() {
	b.cancel()
	b.listener.Close() //nolint:errcheck // it accepts no more
	b.tasks.Wait()
}

// refused is how many connections a server refused that another one took.
func (b *balancer) refused() (n int64) {
	for _, s := range b.servers {
		n += s.failed.Load()
	}
	return n
}

// check asks a server again and again whether it is ready.
func (s *balanced) check(ctx context.Context) {
	// As load balancers do, it verifies nothing: whoever connects does.
	unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
	client := &http.Client{Timeout: balancerTimeout, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: unverified}}
	tick := time.NewTicker(balancerInterval)
	defer tick.Stop()
	for {
		s.ready.Store(isReady(ctx, client, "https://"+s.address+"/readyz"))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func isReady(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

func (b *balancer) accept(ctx context.Context) {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		b.tasks.Go(func() { b.serve(ctx, conn) })
	}
}

// serve leads a connection to a server, and passes on what either side says until both have ended.
func (b *balancer) serve(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // it has ended
	server := b.connect(ctx)
	if server == nil {
		return
	}
	defer server.Close() //nolint:errcheck // it has ended
	ended := context.AfterFunc(ctx, func() {
		client.Close() //nolint:errcheck // so that copying ends
		server.Close() //nolint:errcheck // so that copying ends
	})
	defer ended()
	var both sync.WaitGroup
	both.Go(func() { pass(server, client) })
	both.Go(func() { pass(client, server) })
	both.Wait()
}

// pass copies until one side says no more, and tells the other.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		half.CloseWrite() //nolint:errcheck // it may have ended
		return
	}
	to.Close()   //nolint:errcheck // one of them is broken
	from.Close() //nolint:errcheck // one of them is broken
}

// connect connects to the next server that is ready and takes a connection; where none says that it is ready, to any that takes one.
func (b *balancer) connect(ctx context.Context) net.Conn {
	first := int(b.next.Add(1))
	dialer := net.Dialer{Timeout: balancerTimeout}
	for _, onlyReady := range []bool{true, false} {
		for i := range b.servers {
			s := b.servers[(first+i)%len(b.servers)]
			if onlyReady != s.ready.Load() {
				continue
			}
			conn, err := dialer.DialContext(ctx, "tcp", s.address)
			if err == nil {
				return conn
			}
			s.failed.Add(1)
		}
	}
	return nil
}
