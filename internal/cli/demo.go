package cli

import (
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/demo"
)

const demoLong = `Shows clusterpki at work on this machine, without root and without touching any cluster of yours.

It starts a management control plane, runs the operator in it, applies the samples, exports the
files of each host, and starts a second cluster from those files alone: etcd, kube-apiserver
(Node and RBAC authorization, NodeRestriction), kube-controller-manager, kube-scheduler, and for
each node the real kubelet's code over a fake container runtime, each host on a loopback address
of its own. Then it asks that cluster for its nodes, pods and services with the exported
kubeconfig. At the end, or at Ctrl-C, it stops everything and leaves nothing behind.

It needs Linux, about 2 GB of memory, and programs that hack/kubernetes/build.sh builds.`

func newDemo() *cobra.Command {
	var o demo.Options
	var directory string
	c := &cobra.Command{
		Use:   "demo --binaries DIR",
		Short: "Start a cluster on this machine from a PKI issued by the operator",
		Long:  demoLong,
		Example: "  make demo          # builds what it needs first\n" +
			"  make demo KEEP=1   # leaves both clusters up until Ctrl-C\n" +
			"  clusterpki demo --binaries bin/kubernetes/v1.37.2-etcd-v3.7.3",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out, o.Clock = c.OutOrStdout(), clock.RealClock{}
			var err error
			if o.Samples, err = demoSamples(directory); err != nil {
				return err
			}
			// A terminal that is closed must not leave processes behind.
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP)
			defer stop()
			return demo.Run(ctx, o)
		},
	}
	c.Flags().StringVar(&o.Binaries, "binaries", "",
		"the `folder` of etcd, kube-apiserver, kubectl and the others; what $KUBEBUILDER_ASSETS holds wins")
	c.Flags().StringVar(&directory, "samples", "", "a `folder` of other objects to apply (default: those of config/samples)")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave both clusters up until Ctrl-C")
	cobra.CheckErr(c.MarkFlagRequired("binaries")) // fails only for a name that is misspelt here
	return c
}

func demoSamples(directory string) (fs.FS, error) {
	if directory != "" {
		return os.DirFS(directory), nil
	}
	return fs.Sub(config.Files, "samples") //nolint:wrapcheck // fails only for a malformed path
}
