package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
	fakeremote "k8s.io/cri-client/pkg/fake"
	"k8s.io/utils/clock"
)

// fakeRuntime runs no containers and says that it does. It gives every pod an address of its own, where
// the fake that it wraps gives all of them the same.
type fakeRuntime struct {
	internalapi.RuntimeService
	images internalapi.ImageManagerService
	stop   func()
	log    string // what every container is said to have logged

	mu        sync.Mutex
	next      netip.Addr
	addresses map[string]string // by sandbox
}

// startRuntime serves the fake container runtime on a socket and connects to it as a kubelet does.
func startRuntime(ctx context.Context, o options, endpoint string) (*fakeRuntime, error) {
	prefix, err := netip.ParsePrefix(o.podSubnet)
	if err != nil {
		return nil, fmt.Errorf("--pod-subnet: %w", err)
	}
	log := filepath.Join(o.rootDir, "container.log")
	line := fmt.Sprintf("%s stdout F hollow: no container runs on %s\n", clock.RealClock{}.Now().UTC().Format(time.RFC3339Nano), o.nodeName)
	if err := os.WriteFile(log, []byte(line), 0o600); err != nil {
		return nil, fmt.Errorf("write the log of containers: %w", err)
	}
	server := fakeremote.NewFakeRemoteRuntime()
	if err := server.Start(endpoint); err != nil {
		return nil, fmt.Errorf("start the fake runtime: %w", err)
	}
	client, err := remote.NewRemoteRuntimeServiceBuilder().
		WithEndpoint(endpoint).WithConnectionTimeout(15 * time.Second).Build(ctx)
	if err != nil {
		server.Stop()
		return nil, fmt.Errorf("connect to the fake runtime: %w", err)
	}
	return &fakeRuntime{
		RuntimeService: client, images: server.ImageService, stop: server.Stop, log: log,
		next: prefix.Masked().Addr().Next(), addresses: map[string]string{},
	}, nil
}

// PodSandboxStatus is the wrapped status with the sandbox's own address in it.
func (r *fakeRuntime) PodSandboxStatus(ctx context.Context, id string, verbose bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	response, err := r.RuntimeService.PodSandboxStatus(ctx, id, verbose)
	if err != nil {
		return nil, err //nolint:wrapcheck // the kubelet looks at its gRPC status
	}
	if network := response.GetStatus().GetNetwork(); network != nil {
		network.Ip = r.addressOf(id)
	}
	return response, nil
}

// ContainerStatus is the wrapped status with the place of a log in it, so that `kubectl logs` has an answer.
func (r *fakeRuntime) ContainerStatus(ctx context.Context, id string, verbose bool) (*runtimeapi.ContainerStatusResponse, error) {
	response, err := r.RuntimeService.ContainerStatus(ctx, id, verbose)
	if err != nil {
		return nil, err //nolint:wrapcheck // the kubelet looks at its gRPC status
	}
	if status := response.GetStatus(); status != nil {
		status.LogPath = r.log
	}
	return response, nil
}

func (r *fakeRuntime) addressOf(sandbox string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.addresses[sandbox]; !ok {
		r.next = r.next.Next()
		r.addresses[sandbox] = r.next.String()
	}
	return r.addresses[sandbox]
}
