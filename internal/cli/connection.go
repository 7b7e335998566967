package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
)

// connection says which cluster and namespace to read, as kubectl's flags of the same names do.
type connection struct{ kubeconfig, context, namespace string }

func (o *connection) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.kubeconfig, "kubeconfig", "",
		"the kubeconfig of the management cluster (default: $KUBECONFIG, else ~/.kube/config)")
	c.Flags().StringVar(&o.context, "context", "", "the context of the kubeconfig (default: its current one)")
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "", "the namespace of the objects (default: that of the kubeconfig's context)")
}

// connect returns a client and the namespace to use with it.
func (o *connection) connect() (client.WithWatch, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.context}
	overrides.Context.Namespace = o.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1 // the server shares itself out (API priority and fairness); client-go's default is 5 requests a second
	c, err := client.NewWithWatch(config, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		return nil, "", fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return c, namespace, nil
}
