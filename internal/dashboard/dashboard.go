// Package dashboard serves a page that shows the PKI of clusters, live: the CAs on a timeline, their rotation as it
// happens, who has acknowledged, and what expires next. It reads all kinds from a cache, never a Secret, and it
// writes nothing.
package dashboard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// DefaultAddress is reached from this machine alone.
const DefaultAddress = "127.0.0.1:8444"

// Options say where the page is served, and to whom.
type Options struct {
	// Address is where to listen, as '127.0.0.1:8444' or ':8444'.
	Address string
	// Secure serves HTTPS with a self-signed certificate. Without it, only a loopback address is listened on.
	Secure bool
	// Hosts are the names by which the page may be asked for, beside localhost, addresses and names in '.svc'.
	Hosts []string
	// Access decides who sees what.
	Access Access
	// Link, where it is set, is Access, and admits whoever opens its URL.
	Link *Link
	// Recheck is how often somebody who keeps looking is asked about again. Default: DefaultRecheck.
	Recheck time.Duration
	// Listening is called with the address once it is listened on; nil: it is not.
	Listening func(net.Addr)
	Clock     clock.PassiveClock
	Log       logr.Logger
}

// Server serves the page; its Start runs it. It runs in every replica, whichever one reconciles.
type Server struct {
	options Options
	hub     *hub
	streams chan struct{} // bounds how many look on at one time
}

// Check says whether a page may be served at an address, with TLS or without.
func Check(address string, secure bool) error {
	loopback, err := isLoopback(address)
	if err != nil {
		return err
	}
	if !loopback && !secure {
		return fmt.Errorf("dashboard: %q can be reached from other machines, and without TLS anybody between could read the tokens of "+
			"those who look: listen on %s, or serve HTTPS", address, DefaultAddress)
	}
	return nil
}

// New checks the options. Of the cache, all kinds alone are read.
func New(c cache.Cache, o Options) (*Server, error) {
	if err := Check(o.Address, o.Secure); err != nil {
		return nil, err
	}
	hosts := make([]string, 0, len(o.Hosts))
	for _, name := range o.Hosts {
		hosts = append(hosts, hostName(strings.TrimSpace(name)))
	}
	o.Hosts = hosts
	if o.Recheck <= 0 {
		o.Recheck = DefaultRecheck
	}
	return &Server{options: o, hub: newHub(c, o.Clock), streams: make(chan struct{}, maxStreams)}, nil
}

// isLoopback says whether an address is reached from this machine alone.
func isLoopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("dashboard: the address %q is not as '127.0.0.1:8444' or ':8444': %w", address, err)
	}
	if host == "localhost" {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback(), nil
}

// NeedLeaderElection lets the manager run it in every replica.
func (*Server) NeedLeaderElection() bool { return false }

// Start serves until the context ends.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	if s.options.Listening != nil {
		s.options.Listening(listener.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		// Browsers that do not know the certificate are no news.
		ErrorLog:    slog.NewLogLogger(logr.ToSlogHandler(s.options.Log.V(1)), slog.LevelInfo),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if s.options.Secure {
		own := &selfSigned{clock: s.options.Clock, log: s.options.Log, names: append([]string{"localhost"}, s.options.Hosts...)}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own.certificate}
	}
	ended := make(chan error, 2)
	go func() { ended <- s.hub.run(ctx) }()
	go func() {
		if s.options.Secure {
			ended <- server.ServeTLS(listener, "", "")
		} else {
			ended <- server.Serve(listener)
		}
	}()
	s.options.Log.Info("Serving the dashboard", "address", listener.Addr().String(), "https", s.options.Secure)
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	cancel() // ends the streams
	if err := server.Close(); err != nil {
		s.options.Log.Info("Could not close the dashboard", "error", err.Error())
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("dashboard: %w", err)
	}
	return nil
}
