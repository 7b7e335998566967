package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// reload knows when client-go has reloaded a certificate: it then closes connections, on this side, and the file is
// another one than before.
type reload struct {
	file  string
	clock clock.PassiveClock

	mu    sync.Mutex
	known []byte    // what the file held
	last  time.Time // when connections were last closed for another one
}

// recency is how long after a reload a broken connection counts as its doing.
const recency = 5 * time.Second

func newReload(file string, c clock.PassiveClock) (*reload, error) {
	text, err := os.ReadFile(file) //nolint:gosec // a path of the kubeconfig
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &reload{file: file, clock: c, known: text}, nil
}

func (r *reload) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is net's own error that the transport expects
	}
	return &watched{Conn: conn, reload: r}, nil
}

// watched is a connection that tells of its end.
type watched struct {
	net.Conn
	reload *reload
}

func (w *watched) Close() error {
	w.reload.closed()
	return w.Conn.Close() //nolint:wrapcheck // as above
}

func (r *reload) closed() {
	text, err := os.ReadFile(r.file)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && !bytes.Equal(text, r.known) {
		r.known, r.last = text, r.clock.Now()
	}
}

// recent says whether there has just been a reload.
func (r *reload) recent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.last.IsZero() && r.clock.Since(r.last) <= recency
}
