package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/controller"
)

func newManager() *cobra.Command {
	var o controller.Options
	var page dashboardFlags
	var development bool
	var allow []string
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the operator",
		Long: "Run the operator: reconcile ClusterPKIs, ClusterCAs, ServiceAccountKeys, APIServerCertificates and\n" +
			"NodeCredentials until stopped.\n\n" +
			"It finds the API server as kubectl does: in a pod through its service account, elsewhere through\n" +
			"KUBECONFIG or ~/.kube/config.\n\n" + exits(untilStopped),
		Example: "  clusterpki manager --leader-elect\n  clusterpki manager --namespace prod   # needs a Role there instead of the ClusterRole",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := page.check(); err != nil {
				return err
			}
			if o.ProbeAllow, err = prefixes(allow); err != nil {
				return err
			}
			cfg, err := ctrl.GetConfig() // before there is a log: it would write there what it returns
			ctrl.SetLogger(zap.New(zap.UseDevMode(development)))
			if clientcmd.IsEmptyConfig(err) {
				return errors.New("find the API server: this is no pod, and there is no kubeconfig, or an empty one: name one in $KUBECONFIG")
			}
			if err != nil {
				return fmt.Errorf("find the API server: %w", err)
			}
			o.OwnNamespace = cmp.Or(o.OwnNamespace, podNamespace(), o.LeaderElectionNamespace)
			mgr, err := controller.New(cmd.Context(), cfg, o)
			if err != nil {
				return err
			}
			if err := page.addTo(mgr); err != nil {
				return err
			}
			if err := mgr.Start(cmd.Context()); err != nil {
				return fmt.Errorf("run the manager: %w", err)
			}
			return nil
		},
	}
	addNamespaces(cmd, &o)
	f := cmd.Flags()
	f.StringVar(&o.MetricsAddress, "metrics-bind-address", "0", "`address` to serve Prometheus metrics on, such as :8443; 0 serves none")
	f.BoolVar(&o.MetricsSecure, "metrics-secure", true,
		"serve metrics over TLS, to bearer tokens that the API server knows and lets get /metrics; false: plainly, to everybody")
	f.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "", "`folder` of tls.crt and tls.key for that (default: a certificate made at the start)")
	f.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "`address` to serve /healthz and /readyz on; 0 serves none")
	f.BoolVar(&o.LeaderElect, "leader-elect", false, "let one of several replicas reconcile, by a Lease")
	f.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "`namespace` of that Lease (default: the one that the pod runs in)")
	f.IntVar(&o.Workers, "workers", 4, "how many objects of each kind to work on side by side")
	f.StringSliceVar(&allow, "probe-allow", nil,
		"`networks`, as in 127.0.0.0/8, of loopback, link-local, metadata or multicast addresses at which API servers may be probed (default: none)")
	page.addFlags(cmd)
	f.BoolVar(&development, "development-log", false, "log as text for people instead of JSON")
	return cmd
}

// addNamespaces adds the flags that name namespaces.
func addNamespaces(cmd *cobra.Command, o *controller.Options) {
	f := cmd.Flags()
	f.StringVar(&o.Namespace, "namespace", "", "reconcile objects of this namespace alone (default: of all namespaces)")
	f.StringVar(&o.AuthorityNamespace, "authority-namespace", "",
		"`namespace` of the keys of all CAs, which nobody else may read (default: "+controller.DefaultAuthorityNamespace+
			"; with --namespace: the operator's own, followed by -authority)")
	f.StringVar(&o.AgentsNamespace, "agents-namespace", "",
		"`namespace` of the ServiceAccounts of hosts' agents, where nobody else may make tokens (default: "+agents.DefaultNamespace+
			"; with --namespace: the operator's own, followed by -agents)")
	f.StringVar(&o.OwnNamespace, "own-namespace", "",
		"`namespace` that the operator runs in (default: that of its pod, else that of --leader-election-namespace)")
}

// prefixes are networks in CIDR form.
func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--probe-allow: %q is no network: write it as in 127.0.0.0/8 or ::1/128", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// podNamespace is the namespace of the pod that this is; "" where it is none.
func podNamespace() string {
	text, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
