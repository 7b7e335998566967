package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
)

const agentLong = `Keeps the PKI files of this host current: watches the host's own Secrets in the management cluster,
checks what is new against the API server, puts it in the place of the old in one moment, reloads
what does not notice by itself, checks again, rolls it back if it does not work, and reports each
step in a Lease, for which the rotation of a CA waits.

FILE is an AgentConfiguration, as 'clusterpki agent config' prints it. 'clusterpki agent install'
prints everything that a host needs. What the agent may do in the management cluster is the
operator's part. See docs/agent.md.

`

// As a plugin of kubectl there are the commands that prepare a host, and not the agent itself.
const (
	agentSetUpLong = `Prints what the agent of a host needs. The agent itself runs on the host, as 'clusterpki agent --config FILE'.
See docs/agent.md.`
	agentSetUpExample = "  clusterpki agent install -n prod --host k8s-node1 | ssh root@k8s-node1 sh\n" +
		"  clusterpki agent config -n prod --host k8s-node1 > agent.yaml"
)

func newAgent() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "agent --config FILE",
		Short: "Keep the PKI files of this host current",
		Long:  agentLong + exits(untilStopped),
		Example: "  clusterpki agent --config /etc/clusterpki/agent.yaml\n" +
			"  clusterpki agent install -n prod --host k8s-node1 | ssh root@k8s-node1 sh   # on your machine\n" +
			"  clusterpki agent config -n prod --host k8s-node1 > agent.yaml",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runAgent(c, file) },
	}
	c.Flags().StringVar(&file, "config", "", "the configuration `file` (required)")
	cobra.CheckErr(c.MarkFlagRequired("config")) // fails only for a name that is misspelt here
	c.AddCommand(newAgentConfig(), newAgentInstall())
	return c
}

func runAgent(c *cobra.Command, file string) error {
	setLibraryLoggers(agent.Log(c.ErrOrStderr()))
	err := agent.RunFile(c.Context(), file, c.ErrOrStderr())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: make it with `clusterpki agent config -n NAMESPACE --host HOST`, as docs/agent.md says", err)
	}
	return err
}

// aboutHost is what a command that prepares a host asks for.
type aboutHost struct {
	connection
	host string
	// home is the authority namespace, where the public half of the namespace's delivery key is; "" where that plays no part.
	home string
}

func (f *aboutHost) command(use, short, long string, show func(io.Writer, agent.Source, agent.Config) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long + "\n\n" + exits(nil), Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, cfg, notes, err := f.config(c)
			if err != nil {
				return err
			}
			for _, n := range notes {
				fmt.Fprintln(c.ErrOrStderr(), "note:", n)
			}
			return show(c.OutOrStdout(), from, cfg)
		},
	}
	f.addFlags(c)
	c.Flags().StringVar(&f.host, "host", "", "the host, as in spec.hostName (required)")
	completeFlag(c, "host", f.hosts)
	cobra.CheckErr(c.MarkFlagRequired("host")) // fails only for a name that is misspelt here
	return c
}

// inNamespace is what is known of the hosts of a namespace.
type inNamespace struct {
	api     client.WithWatch
	name    string
	objects export.Objects
}

// read reads the objects of the hosts' namespace, and no Secret.
func (f *aboutHost) read(ctx context.Context) (inNamespace, error) {
	api, namespace, err := f.connect()
	if err != nil {
		return inNamespace{}, err
	}
	objects, err := export.ObjectsIn(ctx, clientreader.Reader{Client: api}, namespace)
	return inNamespace{api, namespace, objects}, err
}

// config is the configuration of the host's agent.
func (f *aboutHost) config(c *cobra.Command) (agent.Source, agent.Config, []string, error) {
	all, err := f.read(c.Context())
	if err != nil {
		return agent.Source{}, agent.Config{}, nil, err
	}
	return f.configIn(c.Context(), all, f.host)
}

// configIn is the configuration of the agent of one of the hosts of a namespace.
func (f *aboutHost) configIn(ctx context.Context, all inNamespace, host string) (agent.Source, agent.Config, []string, error) {
	from := agent.Source{Host: host, Namespace: all.name, Objects: all.objects}
	cfg, notes, err := agent.ConfigFor(from)
	if of := from.Objects.Of(host); len(of.Servers)+len(of.Credentials) == 0 {
		err = fmt.Errorf("%w; %s", err, hostsOf(all.objects.Servers, all.objects.Credentials))
	}
	if err != nil || f.home == "" {
		return from, cfg, notes, err
	}
	cfg.DeliveryKeys, err = authority.PublishedDelivery(ctx, all.api, f.home, all.name)
	return from, cfg, notes, err
}

// addHome adds the flag that says where the namespace's delivery key is published.
func (f *aboutHost) addHome(c *cobra.Command) {
	c.Flags().StringVar(&f.home, "authority-namespace", controller.DefaultAuthorityNamespace,
		"the `namespace` that holds the keys, as the operator's flag says")
	completeFlag(c, "authority-namespace", f.namespaces)
}

// hostsOf says which hosts there are, to somebody who has named another one.
func hostsOf(servers []v1alpha1.APIServerCertificate, credentials []v1alpha1.NodeCredential) string {
	var hosts []string
	for i := range servers {
		hosts = append(hosts, servers[i].Spec.HostName)
	}
	for i := range credentials {
		hosts = append(hosts, credentials[i].Spec.HostName)
	}
	if len(hosts) == 0 {
		return "there is none for any host: is the namespace right?"
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if len(hosts) > 10 {
		hosts = append(hosts[:10], "...")
	}
	return "its hosts are " + strings.Join(hosts, ", ")
}

func newAgentConfig() *cobra.Command {
	f := &aboutHost{}
	c := f.command("config --host HOST", "Print the configuration of a host's agent",
		"Prints an AgentConfiguration for the NodeCredentials and the APIServerCertificate whose hostName is HOST.\n"+
			"It reads, with your own kubeconfig, those objects and no Secret. Look through its components before use:\n"+
			"they name a systemd unit each. The public half of the namespace's delivery key, which the agent is to trust,\n"+
			"is read from the authority namespace, ConfigMap delivery.NAMESPACE. Comments name the CAs that the host is to trust.",
		func(w io.Writer, from agent.Source, c agent.Config) error {
			text, err := from.Text(c)
			if err == nil {
				_, err = w.Write(text)
			}
			if err != nil {
				return fmt.Errorf("print the configuration: %w", err)
			}
			return nil
		})
	f.addHome(c)
	return c
}

var libraryLoggers sync.Once

// setLibraryLoggers sets, once, where the libraries log: they have one logger for the process.
func setLibraryLoggers(log logr.Logger) {
	libraryLoggers.Do(func() {
		ctrl.SetLogger(log)
		agent.LogLibraries(log)
	})
}
