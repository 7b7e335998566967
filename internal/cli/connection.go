package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/controller"
)

// connection says which cluster and namespace to read, and as whom, by kubectl's own flags.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	clock      *apitime.Clock // by the API server's answers, once connected
}

// rareFlags are those that work and are not listed in the help of every command: docs/kubectl.md names them.
var rareFlags = []string{
	clientcmd.FlagAPIServer, clientcmd.FlagTLSServerName, clientcmd.FlagInsecure, clientcmd.FlagCertFile, clientcmd.FlagKeyFile,
	clientcmd.FlagCAFile, clientcmd.FlagBearerToken, clientcmd.FlagImpersonateUID, clientcmd.FlagProxyURL, clientcmd.FlagDisableCompression,
}

func (o *connection) addFlags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&o.kubeconfig, clientcmd.RecommendedConfigPathFlag, "",
		"the kubeconfig of the management cluster (default: $KUBECONFIG, else ~/.kube/config)")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.AuthOverrideFlags.Username.LongName, names.AuthOverrideFlags.Password.LongName = "", "" // Kubernetes has none any more
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	describe := func(f *clientcmd.FlagInfo, text string) { f.Description = text }
	describe(&names.CurrentContext, "the context of the kubeconfig (default: its current one)")
	describe(&names.ContextOverrideFlags.Namespace, "the namespace of the objects (default: that of the kubeconfig's context)")
	describe(&names.ContextOverrideFlags.ClusterName, "the cluster of the kubeconfig (default: that of its context)")
	describe(&names.ContextOverrideFlags.AuthInfoName, "the user of the kubeconfig (default: that of its context)")
	describe(&names.AuthOverrideFlags.Impersonate, "the user to act as, if you may impersonate it")
	describe(&names.AuthOverrideFlags.ImpersonateGroups, "a group to act as; may be repeated")
	describe(&names.Timeout, "how long one request may take, such as 30s; 0: without end")
	clientcmd.BindOverrideFlags(&o.overrides, flags, names)
	for _, name := range rareFlags {
		cobra.CheckErr(flags.MarkHidden(name)) // fails only for a name that is misspelt above
	}
	o.completeConnection(c)
}

// loader reads the kubeconfig as the flags say.
func (o *connection) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
}

// connect returns a client and the namespace to use with it.
func (o *connection) connect() (client.WithWatch, string, error) {
	config, namespace, err := o.config()
	if err != nil {
		return nil, "", err
	}
	o.clock = apitime.New(clock.RealClock{})
	config.Wrap(o.clock.Wrap)
	c, err := client.NewWithWatch(config, client.Options{Scheme: controller.Scheme(), Mapper: kinds()})
	if err != nil {
		return nil, "", fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return c, namespace, nil
}

// errBoth refuses what says two things about the namespace.
var errBoth = errors.New("--all-namespaces and --namespace say two things: leave out one of them")

// connectTo returns a client and the namespace to use with it; everywhere, "" for all of them.
func (o *connection) connectTo(everywhere bool) (client.WithWatch, string, error) {
	if everywhere && o.overrides.Context.Namespace != "" {
		return nil, "", errBoth
	}
	c, namespace, err := o.connect()
	if everywhere {
		namespace = ""
	}
	return c, namespace, err
}

// config returns how to reach the cluster, and the namespace.
func (o *connection) config() (*rest.Config, string, error) {
	loader := o.loader()
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", o.unusable(loader, err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", o.unusable(loader, err)
	}
	config.QPS = -1 // the server shares itself out (API priority and fairness); client-go's default is 5 requests a second
	return config, namespace, nil
}

// kinds are those that commands read and write. To name them saves asking each time which ones there are, which takes
// longer than the answer and cannot be interrupted.
func kinds() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, k := range v1alpha1.Kinds() { // of a kind that ends in 'Key' Add would guess another plural
		m.AddSpecific(v1alpha1.GroupVersion.WithKind(k.Name), v1alpha1.GroupVersion.WithResource(k.Plural),
			v1alpha1.GroupVersion.WithResource(strings.ToLower(k.Name)), meta.RESTScopeNamespace)
	}
	for _, k := range []string{"Secret", "ConfigMap", "Event", "ServiceAccount"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(k), meta.RESTScopeNamespace)
	}
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	return m
}

// notInstalled says whether a cluster has no custom resources of clusterpki: then the API server knows no such path.
func notInstalled(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// unusable says why a kubeconfig says not which cluster to use, and what else it holds.
func (o *connection) unusable(loader clientcmd.ClientConfig, err error) error {
	raw, rawErr := loader.RawConfig()
	switch {
	case rawErr != nil:
	case clientcmd.IsEmptyConfig(err) && len(raw.Contexts) == 0:
		if set := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); set != "" && o.kubeconfig == "" {
			return fmt.Errorf("there is no kubeconfig, or an empty one, at %s as $KUBECONFIG says: name another one with --kubeconfig or there", set)
		}
		return errors.New("there is no kubeconfig, or an empty one: name one with --kubeconfig or in $KUBECONFIG")
	case o.overrides.CurrentContext != "" && raw.Contexts[o.overrides.CurrentContext] == nil:
		return fmt.Errorf("the kubeconfig has no context %q; %s", o.overrides.CurrentContext, contextsOf(raw))
	case raw.CurrentContext == "" && o.overrides.CurrentContext == "":
		return fmt.Errorf("the kubeconfig has no current context: choose one with --context; %s", contextsOf(raw))
	}
	return fmt.Errorf("read the kubeconfig: %w", err)
}

func contextsOf(raw api.Config) string {
	if len(raw.Contexts) == 0 {
		return "it has none at all"
	}
	return "it has " + strings.Join(slices.Sorted(maps.Keys(raw.Contexts)), ", ")
}
