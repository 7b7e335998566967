package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"clusterpki.io/operator/internal/status"
)

// completionTime bounds how long the Tab key waits for a cluster.
const completionTime = 3 * time.Second

// words are a list to complete with, which is read when it is asked for; nothing where it cannot be read.
type words func(context.Context) []string

func (w words) complete(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	return starting(w(ctx), typed), cobra.ShellCompDirectiveNoFileComp
}

// starting are those words that begin as typed, in order and each once.
func starting(all []string, typed string) []string {
	var out []string
	for _, w := range all {
		if strings.HasPrefix(w, typed) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// completeFlag makes a flag of a command complete with words.
func completeFlag(c *cobra.Command, flag string, w words) {
	cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, w.complete)) // fails only for a name that is misspelt
}

// completeConnection completes the flags that say which cluster to use.
func (o *connection) completeConnection(c *cobra.Command) {
	of := func(names func(api.Config) []string) words {
		return func(context.Context) []string {
			raw, err := o.loader().RawConfig()
			if err != nil {
				return nil
			}
			return names(raw)
		}
	}
	completeFlag(c, clientcmd.FlagContext, of(func(k api.Config) []string { return slices.Collect(maps.Keys(k.Contexts)) }))
	completeFlag(c, clientcmd.FlagClusterName, of(func(k api.Config) []string { return slices.Collect(maps.Keys(k.Clusters)) }))
	completeFlag(c, clientcmd.FlagAuthInfoName, of(func(k api.Config) []string { return slices.Collect(maps.Keys(k.AuthInfos)) }))
	completeFlag(c, clientcmd.FlagNamespace, o.namespaces)
}

func (o *connection) namespaces(ctx context.Context) []string {
	from, _, err := o.connect()
	if err != nil {
		return nil
	}
	var list corev1.NamespaceList
	if err := from.List(ctx, &list); err != nil {
		return nil
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out
}

// objects are those of the namespace, to complete with.
func (o *connection) objects(ctx context.Context) status.Objects {
	from, namespace, err := o.connect()
	if err != nil {
		return status.Objects{}
	}
	all, err := readObjects(ctx, from, namespace)
	if err != nil {
		return status.Objects{}
	}
	return all
}

// completeDescribed completes the first argument with what status shows: the ClusterCAs, and cpki/NAME.
func (o *connection) completeDescribed(c *cobra.Command) {
	o.completeCAsAnd(c, status.KindClusterPKI, "cpki/")
}

// completeRotated completes the first argument with what can be rotated: the ClusterCAs, and sak/NAME.
func (o *connection) completeRotated(c *cobra.Command) {
	o.completeCAsAnd(c, status.KindServiceAccountKey, "sak/")
}

// completeCAsAnd completes the first argument with the ClusterCAs by their names, and the objects of another kind behind its short name.
func (o *connection) completeCAsAnd(c *cobra.Command, kind, short string) {
	c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(func(ctx context.Context) []string {
			all := o.objects(ctx)
			out := namesOf(all, status.KindClusterCA)
			for _, name := range namesOf(all, kind) {
				out = append(out, short+name)
			}
			return out
		}).complete(c, args, typed)
	}
}

// hosts are the hosts of the namespace.
func (o *connection) hosts(ctx context.Context) []string {
	all := o.objects(ctx)
	var out []string
	for i := range all.Servers {
		out = append(out, all.Servers[i].Spec.HostName)
	}
	for i := range all.Credentials {
		out = append(out, all.Credentials[i].Spec.HostName)
	}
	return out
}

// completeObject completes KIND/NAME: the kind first, then the names of that kind; or KIND NAME.
func (o *connection) completeObject(c *cobra.Command) {
	c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		kind, _, slash := strings.Cut(typed, "/")
		switch {
		case len(args) > 1:
			return nil, cobra.ShellCompDirectiveNoFileComp
		case len(args) == 1:
			return words(func(ctx context.Context) []string { return o.named(ctx, args[0], "") }).complete(c, args, typed)
		case slash:
			return words(func(ctx context.Context) []string { return o.named(ctx, kind, kind+"/") }).complete(c, args, typed)
		}
		kinds := []string{"clusterca/", "serviceaccountkey/", "apiservercertificate/", "nodecredential/", "secret/"}
		return starting(kinds, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// named are the names of a kind, each after a prefix. Secrets are not listed, which would read them all: their names are
// those that the other objects state.
func (o *connection) named(ctx context.Context, kind, prefix string) []string {
	kind, _ = kindNamed(kind)
	all := o.objects(ctx)
	names := namesOf(all, kind)
	if kind == kindSecret {
		names = secretsOf(all)
	}
	var out []string
	for _, n := range names {
		out = append(out, prefix+n)
	}
	return out
}

// secretsOf are the Secrets of the objects, as their specs and their status name them.
func secretsOf(all status.Objects) []string {
	var out []string
	for i := range all.CAs {
		out = append(out, all.CAs[i].Spec.SecretName)
	}
	for i := range all.Keys {
		out = append(out, all.Keys[i].KeySecretName())
	}
	for i := range all.Servers {
		out = append(out, all.Servers[i].TLSSecretName())
	}
	for i := range all.Credentials {
		out = append(out, all.Credentials[i].TLSSecretName(), all.Credentials[i].KubeconfigSecretName())
	}
	return slices.DeleteFunc(out, func(n string) bool { return n == "" })
}
