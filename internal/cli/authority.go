package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/home"
)

const authorityLong = `Shows and changes what the authority namespace holds: of each CA, and of each ServiceAccountKey, one Secret with its
keys and all that decides about it. Whoever may use these commands has every key; they work with your own rights.`

func newAuthority() *cobra.Command {
	c := &cobra.Command{
		Use:   "authority",
		Short: "Look after the namespace that holds the keys of all CAs",
		Long:  authorityLong,
	}
	c.AddCommand(newAuthorityList(), newAuthorityInit(), newAuthorityRelease(), newAuthorityRotate(), newAuthorityDelete())
	return c
}

// authorityFlags say which cluster, and which authority namespace in it.
type authorityFlags struct {
	connection
	home string
}

func (f *authorityFlags) addFlags(c *cobra.Command) {
	f.connection.addFlags(c)
	c.Flags().StringVar(&f.home, "authority-namespace", controller.DefaultAuthorityNamespace,
		"the `namespace` that holds the keys, as the operator's flag says")
	completeFlag(c, "authority-namespace", f.namespaces)
}

// open connects to the store. everywhere and namespace are as of connectTo.
func (f *authorityFlags) open(everywhere bool) (authorities, string, error) {
	api, namespace, err := f.connectTo(everywhere)
	if err != nil {
		return authorities{}, "", err
	}
	return authorities{api, authority.New(f.home, api, nil), f.clock}, namespace, nil
}

// completeKept completes the names of what is kept.
func (f *authorityFlags) completeKept(c *cobra.Command) {
	c.ValidArgsFunction = words(func(ctx context.Context) []string {
		a, _, err := f.open(false)
		if err != nil {
			return nil
		}
		kept, _, err := a.store.ListKept(ctx)
		if err != nil {
			return nil
		}
		var out []string
		for _, k := range kept {
			out = append(out, k.Ref().String())
		}
		return out
	}).complete
}

// authorities are what the authority namespace keeps, and the objects that it belongs to.
type authorities struct {
	api   client.WithWatch
	store *authority.Store
	clock *apitime.Clock // what is stored is by the API server's time
}

// named is what is kept for an object.
func (a authorities) named(ctx context.Context, of authority.Ref) (authority.Kept, error) {
	kept, err := a.store.KeptFor(ctx, of)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, fmt.Errorf("namespace %q holds no %s %s: `clusterpki authority list` says what it holds", a.store.Namespace(), what(of.Kind), of)
	}
	return kept, nil
}

// what is the word for what is kept for an object of a kind.
func what(kind string) string {
	switch kind {
	case authority.KindAccountKeys:
		return "service account keys"
	case authority.KindFamily:
		return "ClusterPKI"
	default:
		return "CA"
	}
}

// namespace is the UID of a namespace, "" where it is not there.
func (a authorities) namespace(ctx context.Context, name string) (types.UID, error) {
	var ns corev1.Namespace
	err := a.api.Get(ctx, client.ObjectKey{Name: name}, &ns)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read namespace %q: %w", name, err)
	}
	return ns.UID, nil
}

// object is the UID of the object for which something is kept, "" where there is none.
func (a authorities) object(ctx context.Context, of authority.Ref) (types.UID, error) {
	var o client.Object = &v1alpha1.ClusterCA{}
	switch of.Kind {
	case authority.KindAccountKeys:
		o = &v1alpha1.ServiceAccountKey{}
	case authority.KindFamily:
		o = &v1alpha1.ClusterPKI{}
	}
	err := a.api.Get(ctx, of.NamespacedName, o)
	if apierrors.IsNotFound(err) { // or clusterpki's kinds are not installed
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s %s: %w", of.Kind, of.NamespacedName, err)
	}
	return o.GetUID(), nil
}

// owners are the UIDs of the namespace and the object for which something is kept, as they are now.
func (a authorities) owners(ctx context.Context, of authority.Ref) (owners, error) {
	namespace, err := a.namespace(ctx, of.Namespace)
	if err != nil {
		return owners{}, err
	}
	keys, err := a.namespace(ctx, a.store.Namespace())
	if err != nil {
		return owners{}, err
	}
	object, err := a.object(ctx, of)
	return owners{namespace, object, keys}, err
}

const authorityInitLong = `Records the authority namespace as the operator's, in ConfigMap clusterpki-namespaces of the operator's own
namespace. The operator does that by itself where nobody else has rights in that namespace and it holds no
keys yet. It waits for this command:

  - after an installation whose own namespace was deleted, and with it the record;
  - after the authority namespace was made anew, once its Secrets are restored;
  - where others have rights there, if that is as it should be: they have every key.

It makes the namespace where it is not there.

`

func newAuthorityInit() *cobra.Command {
	var f authorityFlags
	var own string
	c := &cobra.Command{
		Use:     "init",
		Short:   "Let the operator use an authority namespace that it refuses by itself",
		Long:    authorityInitLong + exits(nil),
		Example: "  clusterpki authority init\n  clusterpki authority init --authority-namespace operators-authority --operator-namespace operators",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if own == f.home {
				return fmt.Errorf("authority init: namespace %q cannot be the operator's own and hold the keys", own)
			}
			api, _, err := f.connect()
			if err != nil {
				return err
			}
			if err := home.Init(c.Context(), api, own, f.home); err != nil {
				return fmt.Errorf("authority init: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "namespace %s holds the keys of the operator in namespace %s\n", f.home, own)
			return nil
		},
	}
	f.addFlags(c)
	c.Flags().StringVar(&own, "operator-namespace", "clusterpki-system", "the `namespace` that the operator runs in")
	completeFlag(c, "operator-namespace", f.namespaces)
	return c
}
