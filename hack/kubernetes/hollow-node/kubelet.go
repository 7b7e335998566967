package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	cadvisorapi "github.com/google/cadvisor/lib/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	kubeletoptions "k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/cluster/ports"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	"k8s.io/kubernetes/pkg/kubemark"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
)

func runKubelet(ctx context.Context, o options, clientConfig *rest.Config) error {
	if o.config == "" || o.rootDir == "" {
		return errors.New("a kubelet needs --config and --root-dir")
	}
	config, err := kubeletConfiguration(ctx, o)
	if err != nil {
		return err
	}
	flags := kubeletFlags(o)
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	heartbeat := rest.CopyConfig(clientConfig)
	heartbeat.QPS = -1
	heartbeat.Timeout = config.NodeStatusUpdateFrequency.Duration
	heartbeatClient, err := kubernetes.NewForConfig(heartbeat)
	if err != nil {
		return fmt.Errorf("make a client for heartbeats: %w", err)
	}
	pods, err := startRuntime(ctx, o, config.ContainerRuntimeEndpoint)
	if err != nil {
		return err
	}
	defer pods.stop()

	hollow := kubemark.NewHollowKubelet(flags, config, client, heartbeatClient,
		&machine{cadvisortest.Fake{NodeName: o.nodeName}}, pods.images, pods, cm.NewStubContainerManager())
	if err := secure(ctx, o, hollow, client); err != nil {
		return err
	}
	return serve(ctx, o, hollow)
}

// machine is a fake machine, which says what it is.
type machine struct{ cadvisortest.Fake }

// VersionInfo is what the Node's status tells of the operating system.
func (*machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{ContainerOsVersion: "Hollow node without containers", KernelVersion: "none"}, nil
}

// kubeletConfiguration is the file's configuration, less what needs root or a container runtime.
func kubeletConfiguration(ctx context.Context, o options) (*kubeletconfig.KubeletConfiguration, error) {
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, o.config)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.config, err)
	}
	c, err := loader.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.config, err)
	}
	for _, dir := range []string{"pods", "pod-logs", "static-pods"} {
		if err := os.MkdirAll(filepath.Join(o.rootDir, dir), 0o750); err != nil {
			return nil, fmt.Errorf("prepare --root-dir: %w", err)
		}
	}
	c.Address = o.address
	c.Port = o.portOr(ports.KubeletPort)
	c.ReadOnlyPort = 0
	c.ProviderID = "hollow://" + o.nodeName
	c.HealthzPort = 0
	c.StaticPodPath = ""
	c.PodLogsDir = filepath.Join(o.rootDir, "pod-logs")
	c.ContainerRuntimeEndpoint = "unix://" + filepath.Join(o.rootDir, "cri.sock")
	c.CgroupsPerQOS = false
	c.CgroupRoot = ""
	c.EnforceNodeAllocatable = nil
	c.FailSwapOn = false
	c.ResolverConfig = ""
	c.EnableControllerAttachDetach = false
	c.MaxOpenFiles = 1024
	c.NodeStatusUpdateFrequency = metav1.Duration{Duration: 5 * time.Second}
	c.SyncFrequency = metav1.Duration{Duration: 10 * time.Second}
	return c, nil
}

func kubeletFlags(o options) *kubeletoptions.KubeletFlags {
	f := kubeletoptions.NewKubeletFlags()
	f.RootDirectory = o.rootDir
	f.CertDirectory = filepath.Join(o.rootDir, "pki")
	f.HostnameOverride = o.nodeName
	f.MinimumGCAge = metav1.Duration{Duration: time.Minute}
	f.MaxContainerCount = 100
	f.MaxPerPodContainerCount = 2
	return f
}

// secure gives the kubelet's server what cmd/kubelet gives it: TLS from the configured files, and the
// authentication and authorization that the configuration asks for.
func secure(ctx context.Context, o options, hollow *kubemark.HollowKubelet, client kubernetes.Interface) error {
	config := hollow.KubeletConfiguration
	tlsOptions, err := kubeletapp.InitializeTLS(ctx, hollow.KubeletFlags, config)
	if err != nil {
		return fmt.Errorf("set up TLS: %w", err)
	}
	auth, watchClientCA, err := kubeletapp.BuildAuth(types.NodeName(o.nodeName), client, *config)
	if err != nil {
		return fmt.Errorf("set up authentication: %w", err)
	}
	watchClientCA(ctx.Done())
	hollow.KubeletDeps.TLSOptions = tlsOptions
	hollow.KubeletDeps.Auth = auth
	return nil
}

// serve does what kubeletapp.RunKubelet does, with one difference: the kubelet is told that its host name is
// its address. It reports a host name that is an IP address as the node's address without looking for it on
// the network interfaces, where it refuses every loopback address (pkg/kubelet/nodestatus/setters.go).
func serve(ctx context.Context, o options, hollow *kubemark.HollowKubelet) error {
	f, c, deps := hollow.KubeletFlags, hollow.KubeletConfiguration, hollow.KubeletDeps
	capabilities.Initialize(capabilities.Capabilities{AllowPrivileged: true})
	k, err := kubelet.NewMainKubelet(ctx, c, deps, &f.ContainerRuntimeOptions,
		o.address, types.NodeName(o.nodeName), nil,
		c.ProviderID, "", f.CertDirectory, f.RootDirectory, c.PodLogsDir, "", "",
		true, nil, nil, "", false, false,
		f.MinimumGCAge, f.MaxPerPodContainerCount, f.MaxContainerCount,
		map[string]string{corev1.LabelHostname: o.nodeName}, c.NodeStatusMaxImages, false)
	if err != nil {
		return fmt.Errorf("make a kubelet: %w", err)
	}
	k.BirthCry()
	k.StartGarbageCollection(ctx)
	go k.Run(ctx, deps.PodConfig.Updates())
	go k.ListenAndServe(ctx, c, deps.TLSConfig, deps.Auth, deps.TracerProvider)
	o.logStarted(c.Port)
	<-ctx.Done()
	klog.InfoS("Stopped", "node", o.nodeName)
	return nil
}
