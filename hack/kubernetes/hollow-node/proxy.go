package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/cluster/ports"
	kubemarkproxy "k8s.io/kubernetes/pkg/proxy/kubemark"
)

// proxier programs nothing, and knows whether it has seen what a real one would program.
type proxier struct {
	kubemarkproxy.FakeProxier
	services, slices atomic.Bool
}

// OnServiceSynced comes once the first full list of Services has arrived.
func (p *proxier) OnServiceSynced() {
	p.services.Store(true)
	klog.InfoS("Saw all services")
}

// OnEndpointSlicesSynced comes once the first full list of EndpointSlices has arrived.
func (p *proxier) OnEndpointSlicesSynced() {
	p.slices.Store(true)
	klog.InfoS("Saw all endpoint slices")
}

// ServeHTTP is kube-proxy's /healthz: healthy once everything has been seen.
func (p *proxier) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !p.services.Load() || !p.slices.Load() {
		http.Error(w, "services or endpoint slices not yet seen", http.StatusServiceUnavailable)
	}
}

func runProxy(ctx context.Context, o options, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	recorder := broadcaster.NewRecorder(legacyscheme.Scheme, "kube-proxy")
	hollow := kubemarkproxy.NewHollowProxy(o.nodeName, client, client.CoreV1(), broadcaster, recorder)
	p := &proxier{}
	hollow.ProxyServer.Proxier = p

	port := o.portOr(ports.ProxyHealthzPort)
	server := &http.Server{
		Addr: net.JoinHostPort(o.address, strconv.Itoa(int(port))), Handler: p, ReadHeaderTimeout: time.Second,
	}
	failed := make(chan error, 2)
	go func() { failed <- server.ListenAndServe() }()
	go func() { failed <- hollow.ProxyServer.Run(ctx) }()
	o.logStarted(port)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("run the proxy: %w", err)
	}
}
