package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
)

const agentLong = `Keeps the PKI files of this host current: watches the host's own Secrets in the management cluster,
checks what is new against the API server, puts it in the place of the old in one moment, reloads
what does not notice by itself, checks again, rolls it back if it does not work, and reports each
step in a Lease, for which the rotation of a CA waits.

FILE is an AgentConfiguration, as 'clusterpki agent config' prints it. What the agent may do in the
management cluster is the operator's part. See docs/agent.md.

`

// As a plugin of kubectl there are the commands that prepare a host, and not the agent itself.
const (
	agentSetUpLong = `Prints what the agent of a host needs. The agent itself runs on the host, as 'clusterpki agent --config FILE'.
See docs/agent.md.`
	agentSetUpExample = "  clusterpki agent config -n prod --host k8s-node1 > agent.yaml"
)

func newAgent() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "agent --config FILE",
		Short: "Keep the PKI files of this host current",
		Long:  agentLong + exits(untilStopped),
		Example: "  clusterpki agent --config /etc/clusterpki/agent.yaml\n" +
			"  clusterpki agent config -n prod --host k8s-node1 > agent.yaml   # on your machine",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runAgent(c, file) },
	}
	c.Flags().StringVar(&file, "config", "", "the configuration `file` (required)")
	cobra.CheckErr(c.MarkFlagRequired("config")) // fails only for a name that is misspelt here
	c.AddCommand(newAgentConfig())
	return c
}

func runAgent(c *cobra.Command, file string) error {
	cfg, err := agent.ReadConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: make it with `clusterpki agent config`, as docs/agent.md says", err)
	}
	if err != nil {
		return err
	}
	unlock, err := agent.Lock(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	log := agentLog(c.ErrOrStderr())
	a, err := agent.New(cfg, agent.Options{Clock: clock.RealClock{}, Log: log})
	if err != nil {
		return err
	}
	a.Run(c.Context())
	return nil
}

// agentLog writes text: people read it in the journal of the host.
func agentLog(w io.Writer) logr.Logger {
	log := zap.New(zap.WriteTo(w), zap.UseDevMode(false), zap.ConsoleEncoder())
	setLibraryLoggers(log)
	return log
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

// config reads the objects of the host's namespace, and no Secret.
func (f *aboutHost) config(c *cobra.Command) (agent.Source, agent.Config, []string, error) {
	reader, namespace, err := f.connect()
	if err != nil {
		return agent.Source{}, agent.Config{}, nil, err
	}
	var cas v1alpha1.ClusterCAList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	var keys v1alpha1.ServiceAccountKeyList
	for _, l := range []client.ObjectList{&cas, &servers, &credentials, &keys} {
		if err := reader.List(c.Context(), l, client.InNamespace(namespace)); err != nil {
			return agent.Source{}, agent.Config{}, nil, fmt.Errorf("list what is for the host: %w", err)
		}
	}
	from := agent.Source{
		Host: f.host, Namespace: namespace,
		Objects: export.Objects{CAs: cas.Items, Servers: servers.Items, Credentials: credentials.Items, Keys: keys.Items},
	}
	cfg, notes, err := agent.ConfigFor(from)
	if of := from.Objects.Of(f.host); len(of.Servers)+len(of.Credentials) == 0 {
		err = fmt.Errorf("%w; %s", err, hostsOf(servers.Items, credentials.Items))
	}
	if err != nil || f.home == "" {
		return from, cfg, notes, err
	}
	cfg.DeliveryKeys, err = authority.PublishedDelivery(c.Context(), reader, f.home, namespace)
	return from, cfg, notes, err
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
	c.Flags().StringVar(&f.home, "authority-namespace", controller.DefaultAuthorityNamespace,
		"the `namespace` that holds the keys, as the operator's flag says")
	completeFlag(c, "authority-namespace", f.namespaces)
	return c
}

var libraryLoggers sync.Once

// setLibraryLoggers sets, once, where the libraries log: they have one logger for the process.
func setLibraryLoggers(log logr.Logger) {
	libraryLoggers.Do(func() {
		ctrl.SetLogger(log)
		klog.SetLogger(log)
	})
}
