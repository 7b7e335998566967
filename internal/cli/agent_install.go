package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/export"
)

const installLong = `Prints a shell script that brings to HOST what its agent needs: its configuration, as 'clusterpki agent
config' prints it, a first credential, and a systemd unit. An agent.yaml that is there and differs
stays: the new one is then written beside it, as agent.yaml.new. With --out it writes these files, as
they lie on the host; with --all a folder for each host, for Ansible or Ignition.

With --token-only it brings the credential alone, to a host whose agent is there, and restarts
nothing. With --cluster-name the credential is for another management cluster than the one that the
agent has, beside that one: see "Several management clusters" in docs/agent.md.

The first credential is a token of the ServiceAccount that the operator has made for the host's
agent, which you must be allowed to make tokens of. It is enough for the first start: the agent
renews it by itself from then on. The output holds it: pipe it to the host, and keep no copy.

The program itself comes before: bin/clusterpki-agent, at /usr/local/bin/clusterpki.`

// minToken is the least that an API server grants.
const minToken = 10 * time.Minute

// tokenUser is the user of a first credential, and its context.
const tokenUser = "agent"

// install is what the command is told.
type install struct {
	aboutHost
	all       bool
	out       string
	format    string
	accounts  string
	server    string
	cluster   string
	tokenOnly bool
	lasts     time.Duration
}

func newAgentInstall() *cobra.Command {
	f := &install{}
	c := &cobra.Command{
		Use: "install (--host HOST | --all --out DIR)", Short: "Bring a host what its agent needs", Long: installLong + "\n\n" + exits(nil), Args: cobra.NoArgs,
		Example: "  clusterpki agent install -n prod --host k8s-node1 | ssh root@k8s-node1 sh\n" +
			"  clusterpki agent install -n prod --host k8s-node1 --format cloud-init > user-data\n" +
			"  clusterpki agent install -n prod --all --out hosts\n" +
			"  clusterpki agent install -n prod --host k8s-node1 --token-only | ssh root@k8s-node1 sh",
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.addFlags(c)
	f.addHome(c)
	flags := c.Flags()
	flags.StringVar(&f.host, "host", "", "the host, as in spec.hostName")
	completeFlag(c, "host", f.hosts)
	flags.BoolVar(&f.all, "all", false, "all hosts that have something with delivery.mode Agent")
	flags.StringVar(&f.out, "out", "", "the `directory` to write the files to (default: a script on stdout)")
	flags.StringVar(&f.format, "format", formatScript, "what to print without --out: 'script' or 'cloud-init'")
	flags.StringVar(&f.accounts, "agents-namespace", agents.DefaultNamespace, "the `namespace` of the agents' ServiceAccounts, as the operator's flag says")
	completeFlag(c, "agents-namespace", f.namespaces)
	flags.StringVar(&f.server, "management-server", "", "the `URL` at which the host reaches the management cluster (default: that of your kubeconfig)")
	flags.StringVar(&f.cluster, "cluster-name", agent.DefaultCluster, "the management cluster's `name` in the agent's configuration")
	flags.BoolVar(&f.tokenOnly, "token-only", false, "bring the credential alone, to a host whose agent is there")
	flags.DurationVar(&f.lasts, "token-duration", 24*time.Hour, "how long the first token is asked for: until then the agent must have been started")
	return c
}

// mistake is what cannot be asked for.
func (f *install) mistake() error {
	switch {
	case (f.host == "") != f.all:
		return errors.New("say which host with --host, or --all")
	case f.all && f.out == "":
		return errors.New("--all needs --out: a folder for each host is written there")
	case f.format != formatScript && f.format != formatCloudInit:
		return fmt.Errorf("--format must be '%s' or '%s', not %q", formatScript, formatCloudInit, f.format)
	case f.format == formatCloudInit && f.out != "":
		return errors.New("--out writes files, and --format is for what is printed: say one of the two")
	case f.format == formatCloudInit && f.tokenOnly:
		return errors.New("--token-only is for a host whose agent is there, and cloud-init for one that starts: say one of the two")
	case f.lasts < minToken:
		return fmt.Errorf("--token-duration must be %s at least", minToken)
	}
	if text := strings.Join(validation.IsDNS1123Label(f.cluster), "; "); text != "" { // a file is called so
		return fmt.Errorf("--cluster-name: %s", text)
	}
	return nil
}

func (f *install) run(c *cobra.Command) error {
	if err := f.mistake(); err != nil {
		return err
	}
	all, err := f.read(c.Context())
	if err != nil {
		return err
	}
	to, err := f.management(c.ErrOrStderr())
	if err != nil {
		return err
	}
	if !f.all {
		files, err := f.files(c, all, to, f.host)
		switch {
		case err != nil:
			return err
		case f.out != "":
			return export.Write(f.out, files)
		case f.format == formatCloudInit:
			return printCloudInit(c.OutOrStdout(), files)
		default:
			return printScript(c.OutOrStdout(), f.host, files)
		}
	}
	hosts := hostsWithAgents(all.objects)
	if len(hosts) == 0 {
		return fmt.Errorf("nothing of namespace %q has delivery.mode: Agent, so no host has an agent: set it (in a ClusterPKI "+
			"spec.certificates.delivery.mode), or name the hosts' namespace with -n", all.name)
	}
	var problems []error
	for _, host := range hosts {
		files, err := f.files(c, all, to, host)
		if err == nil {
			err = export.Write(filepath.Join(f.out, host), files)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("host %q: %w", host, err))
		}
	}
	return errors.Join(problems...)
}

// hostsWithAgents are those for which something is delivered by an agent.
func hostsWithAgents(o export.Objects) []string {
	var out []string
	for i := range o.Servers {
		if o.Servers[i].Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
			out = append(out, o.Servers[i].Spec.HostName)
		}
	}
	for i := range o.Credentials {
		if o.Credentials[i].Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
			out = append(out, o.Credentials[i].Spec.HostName)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// files are those of a host.
func (f *install) files(c *cobra.Command, all inNamespace, to *api.Cluster, host string) ([]export.File, error) {
	if f.tokenOnly {
		kubeconfig, err := f.kubeconfig(c, all, to, host)
		return []export.File{kubeconfig}, err
	}
	from, cfg, notes, err := f.configIn(c.Context(), all, host)
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		fmt.Fprintf(c.ErrOrStderr(), "note: %s: %s\n", host, n)
	}
	cfg.ManagementClusters = []agent.ManagementCluster{agent.ClusterNamed(f.cluster)}
	config, err := from.Text(cfg)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := f.kubeconfig(c, all, to, host)
	return agentFiles(config, kubeconfig), err
}

// kubeconfig is the file with the first credential of a host.
func (f *install) kubeconfig(c *cobra.Command, all inNamespace, to *api.Cluster, host string) (export.File, error) {
	token, err := f.token(c.Context(), all, host)
	if err != nil {
		return export.File{}, err
	}
	fmt.Fprintf(c.ErrOrStderr(), "note: %s: its first token ends at %s: the agent must have been started by then\n",
		host, token.ExpirationTimestamp.UTC().Format(time.RFC3339))
	cluster := agent.ClusterNamed(f.cluster)
	if f.cluster != agent.DefaultCluster {
		fmt.Fprintf(c.ErrOrStderr(), "note: %s: an agent that is there finds it once %s has this line under managementClusters, and the agent was restarted:\n"+
			"- {name: %s, kubeconfig: %s}\n", host, agentConfigFile, cluster.Name, cluster.Kubeconfig)
	}
	text, err := clientcmd.Write(api.Config{
		Clusters:  map[string]*api.Cluster{f.cluster: to},
		AuthInfos: map[string]*api.AuthInfo{tokenUser: {Token: token.Token}},
		Contexts:  map[string]*api.Context{tokenUser: {Cluster: f.cluster, AuthInfo: tokenUser}}, CurrentContext: tokenUser,
	})
	if err != nil {
		return export.File{}, errors.New("encode the first credential") // the error may quote it
	}
	return agentFile(cluster.Kubeconfig, 0o600, text), nil
}

// management is how a host reaches the management cluster: as the person's kubeconfig says, who is somebody else.
func (f *install) management(notes io.Writer) (*api.Cluster, error) {
	config, _, err := f.connection.config()
	if err != nil {
		return nil, err
	}
	if config.Insecure {
		return nil, errors.New("your kubeconfig does not verify the API server (insecure-skip-tls-verify): an agent has to; name the CA there")
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("read the CA of your kubeconfig: %w", err)
	}
	to := &api.Cluster{Server: cmp.Or(f.server, config.Host), CertificateAuthorityData: config.CAData}
	if f.server == "" {
		to.TLSServerName = config.ServerName
	}
	u, err := url.Parse(to.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the management cluster must have an https URL, not %q: say it with --management-server", to.Server)
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() || u.Hostname() == "localhost" {
		fmt.Fprintf(notes, "note: hosts are to reach the management cluster at %s: if that is your own machine alone, say another URL with "+
			"--management-server\n", to.Server)
	}
	return to, nil
}

// token is the first one of a host's agent.
func (f *install) token(ctx context.Context, all inNamespace, host string) (authenticationv1.TokenRequestStatus, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.accounts, Name: agents.AccountName(all.name, host)}}
	ask := &authenticationv1.TokenRequest{}
	ask.Spec.ExpirationSeconds = new(int64(f.lasts / time.Second))
	err := all.api.SubResource("token").Create(ctx, account, ask) //nolint:forbidigo // a token, and no status
	switch {
	case apierrors.IsNotFound(err):
		return authenticationv1.TokenRequestStatus{}, fmt.Errorf("ServiceAccount %s/%s does not exist: the operator makes it once an object of host %q has "+
			"delivery.mode: Agent and is Ready; is the operator running, and --agents-namespace as its own flag says?", f.accounts, account.Name, host)
	case apierrors.IsForbidden(err):
		return authenticationv1.TokenRequestStatus{}, fmt.Errorf("you may not make tokens of ServiceAccount %s/%s: it takes a Role in namespace %q with "+
			"{apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [%s], verbs: [create]}", f.accounts, account.Name, f.accounts, account.Name)
	case err != nil:
		return authenticationv1.TokenRequestStatus{}, fmt.Errorf("make a token of ServiceAccount %s/%s: %w", f.accounts, account.Name, err)
	}
	return ask.Status, nil
}
