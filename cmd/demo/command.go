package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/demo"
)

const long = `Shows clusterpki at work on this machine, without root and without touching any cluster of yours.

It starts a management control plane, runs the operator in it, applies one ClusterPKI
(config/samples/clusterpki/cluster.yaml), exports the files of each host, and starts a second
cluster from those files alone: etcd, kube-apiserver (Node and RBAC authorization,
NodeRestriction), kube-controller-manager, kube-scheduler, and for each node the real kubelet's
code over a fake container runtime, each host on a loopback address of its own. Then it asks that
cluster for its nodes, pods and services with the exported kubeconfig, adds a node by one line of
the ClusterPKI, and removes it again. At the end, or at Ctrl-C, it stops everything and leaves
nothing behind.

It needs Linux, about 2 GB of memory, and programs that hack/kubernetes/build.sh builds.`

func newRoot() *cobra.Command {
	c := newCommand(demo.None, &cobra.Command{
		Use:   "demo --binaries DIR",
		Short: "Start a cluster on this machine from a PKI issued by the operator",
		Long:  long,
		Example: "  make demo          # builds what it needs first\n" +
			"  make demo KEEP=1   # leaves both clusters up until Ctrl-C\n" +
			"  demo --binaries bin/kubernetes/v1.37.2-etcd-v3.7.3",
		SilenceUsage:  true,
		SilenceErrors: true,
	})
	c.AddCommand(newRotate(), newMasters(), newSeed())
	return c
}

const rotateLong = `Starts the cluster of 'demo' with a real agent on each host, a process of its own with an
identity of its own, that alone brings files there. It puts the API server under load (admin, controller
manager, scheduler, kubelets and kube-proxies, each with 20 requests a second on fresh connections, and
with a client-go client that holds a watch open), edits spec.validity of the root CA, and follows the
rotation of that CA to its end. In the first phase the agent of one node is killed: the rotation
waits for it, names it, and goes on when it is back. The agent of the master restarts
kube-controller-manager, which reads --root-ca-file only once. At the end it verifies that the old CA
is refused and that everything runs, and prints what it counted. It fails if one request failed.

It takes about 20 minutes: in three phases, agents wait until every client has reloaded its files,
which client-go does every five minutes. With --naive everything is swapped at once, for comparison.`

func newRotate() *cobra.Command {
	return newCommand(demo.Phased, &cobra.Command{
		Use:   "rotate --binaries DIR",
		Short: "Rotate the root CA of that cluster under load, and count the requests that fail",
		Long:  rotateLong,
		Example: "  make demo-rotate           # builds what it needs first\n" +
			"  make demo-rotate NAIVE=1   # without phases, for comparison",
	})
}

const mastersLong = `Starts a cluster of three masters that one ClusterPKI describes (config/samples/clusterpki/ha.yaml): three members
of etcd, three API servers behind a load balancer, and two nodes, each host with a real agent that alone brings files there and
restarts what has to be. It puts the load balancer under load, with client certificates and with a token of a service account,
and rotates one after the other the service account key, etcd's CA, the front proxy's CA and the cluster's CA. The agent of one
master is away for a while: the rotation waits for it. At the end it prints what it counted. It fails if a request failed by TLS
or authentication, or if a component was restarted on two hosts at once.`

func newMasters() *cobra.Command {
	var o demo.Options
	o.Masters = true
	c := newCommandOf(&o, &cobra.Command{
		Use:   "masters --binaries DIR",
		Short: "Rotate everything of a cluster of three masters under load",
		Long:  mastersLong,
		Example: "  make demo-masters           # builds what it needs first\n" +
			"  make demo-masters EDITS=1   # without the rotations\n" +
			"  make demo-masters HOSTS=1   # while nodes come and go",
	})
	c.Flags().DurationVar(&o.ReloadDelay, "reload-delay", 0,
		"how long agents wait for what reloads by itself (default 5m30s); client-go looks every 5 minutes, so with less some requests may fail")
	c.Flags().BoolVar(&o.Hosts, "hosts", false, "rotate the cluster's CA alone, three times, while nodes come, go, and are made anew in each phase")
	c.Flags().BoolVar(&o.Edits, "edits", false, "rotate nothing: edit names, networks and the endpoint only")
	return c
}

const seedLong = `Starts a cluster with the identities of a PKI made by hand with openssl, from its sample alone
(config/samples/clusterpki/seed.yaml): each host has one identity, CN=<host> without a group, which kubelet and kube-proxy share, and
kubectl is k8s-master. What these need in the cluster is applied from config/samples/seed/target-rbac.yaml, which says what that costs.`

func newSeed() *cobra.Command {
	return newCommandOf(&demo.Options{Seed: true}, &cobra.Command{
		Use:     "seed --binaries DIR",
		Short:   "Start a cluster whose hosts have one identity each, as of a PKI made by hand",
		Long:    seedLong,
		Example: "  make demo-seed   # builds what it needs first",
	})
}

// newCommand gives a command the demonstration's flags and lets it run.
func newCommand(rotation demo.Rotation, c *cobra.Command) *cobra.Command {
	return newCommandOf(&demo.Options{Rotation: rotation}, c)
}

func newCommandOf(o *demo.Options, c *cobra.Command) *cobra.Command {
	agents := o.Rotation != demo.None || o.Masters
	var directory string
	var naive bool
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.Out, o.Clock = c.OutOrStdout(), clock.RealClock{}
		if naive {
			o.Rotation = demo.Naive
		}
		var err error
		if o.Samples, err = samples(directory); err != nil {
			return err
		}
		if agents && o.Program == "" {
			if o.Program, err = beside("clusterpki"); err != nil {
				return err
			}
		}
		return demo.Run(c.Context(), *o)
	}
	c.Flags().StringVar(&o.Binaries, "binaries", "",
		"the `folder` of etcd, kube-apiserver, kubectl and the others; what $KUBEBUILDER_ASSETS holds wins")
	c.Flags().StringVar(&directory, "samples", "", "a `folder` in place of config/samples, laid out like it")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave both clusters up until Ctrl-C")
	if agents {
		c.Flags().StringVar(&o.Program, "clusterpki", "", "the `file` of the program that is each host's agent (default: the one beside this program)")
	}
	if o.Rotation != demo.None {
		c.Flags().BoolVar(&naive, "naive", false, "swap the CA and every certificate at once (rotation.emergencyTrigger), and count what fails")
	}
	cobra.CheckErr(c.MarkFlagRequired("binaries")) // fails only for a name that is misspelt here
	return c
}

func samples(directory string) (fs.FS, error) {
	if directory != "" {
		return os.DirFS(directory), nil
	}
	return fs.Sub(config.Files, "samples") //nolint:wrapcheck // fails only for a malformed path
}

// beside is a program in the folder of this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s beside this program: %w", name, err)
	}
	return path, nil
}
