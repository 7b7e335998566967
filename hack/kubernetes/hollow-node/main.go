// Command hollow-node is a Kubernetes node without containers: the real kubelet code, with its real TLS,
// authentication and authorization, over a fake container runtime; or a kube-proxy that programs nothing.
//
// It differs from cmd/kubemark in what a demonstration of certificates needs: the kubelet serves the
// certificate that it is given instead of plain HTTP, listens on the one address that it is given instead of on
// all of them, and keeps all its files below --root-dir. Several run on one host, each on a loopback address.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// options are the flags. Those that the kubelet and kube-proxy have too bear their names.
type options struct {
	morph      string
	nodeName   string
	kubeconfig string
	config     string
	address    string
	port       int32
	podSubnet  string
	rootDir    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hollow-node:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "hollow-node --morph kubelet|proxy",
		Short:         "A Kubernetes node without containers",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.morph, "morph", "", "what to be: kubelet or proxy")
	f.StringVar(&o.nodeName, "hostname-override", "", "the node's name")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	f.StringVar(&o.config, "config", "", "kubelet: a KubeletConfiguration file; its certificates, authentication and authorization count")
	f.StringVar(&o.address, "address", "127.0.0.1", "the node's address, and the only one to listen on")
	f.Int32Var(&o.port, "port", 0, "the port to listen on (default: the kubelet's 10250, kube-proxy's health port 10256)")
	f.StringVar(&o.podSubnet, "pod-subnet", "10.244.1.0/24", "kubelet: where the pods' (imaginary) addresses come from")
	f.StringVar(&o.rootDir, "root-dir", "", "kubelet: where to keep files")
	for _, name := range []string{"morph", "hostname-override", "kubeconfig"} {
		cobra.CheckErr(c.MarkFlagRequired(name)) // fails only for a name that is misspelt above
	}
	return c
}

func run(ctx context.Context, o options) error {
	// The deferred loading rules resolve relative paths, and keep paths as paths: a certificate that is
	// replaced on disk is picked up.
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("load %s: %w", o.kubeconfig, err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	switch o.morph {
	case "kubelet":
		return runKubelet(ctx, o, rest.AddUserAgent(config, "hollow-kubelet"))
	case "proxy":
		return runProxy(ctx, o, rest.AddUserAgent(config, "hollow-proxy"))
	default:
		return fmt.Errorf("--morph must be kubelet or proxy, not %q", o.morph)
	}
}

// portOr is the port of the flag, or the component's own.
func (o options) portOr(usual int32) int32 {
	if o.port == 0 {
		return usual
	}
	return o.port
}

// logStarted tells the log what runs where.
func (o options) logStarted(port int32) {
	klog.InfoS("Started", "morph", o.morph, "node", o.nodeName, "address", o.address, "port", port)
}
