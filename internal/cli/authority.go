package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

const authorityLong = `Shows and changes what the authority namespace holds: of each CA, one Secret with its keys and all that
decides about it. Whoever may use these commands has every key; they work with your own rights.`

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

// completeRecords completes NAMESPACE/NAME of the CAs that are kept.
func (f *authorityFlags) completeRecords(c *cobra.Command) {
	c.ValidArgsFunction = words(func(ctx context.Context) []string {
		a, _, err := f.open(false)
		if err != nil {
			return nil
		}
		records, _, err := a.store.List(ctx)
		if err != nil {
			return nil
		}
		var out []string
		for _, r := range records {
			out = append(out, r.Namespace+"/"+r.Name)
		}
		return out
	}).complete
}

// authorities are the CAs of the authority namespace, and the objects that they belong to.
type authorities struct {
	api   client.WithWatch
	store *authority.Store
	clock *apitime.Clock // what is stored is by the API server's time
}

// named is what is kept of a CA.
func (a authorities) named(ctx context.Context, n types.NamespacedName) (*authority.Record, error) {
	r, err := a.store.Live(ctx, n.Namespace, n.Name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("namespace %q holds no CA %s: `clusterpki authority list` says what it holds", a.store.Namespace(), n)
	}
	return r, nil
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

// object is the UID of the ClusterCA that has the name of a CA, "" where there is none.
func (a authorities) object(ctx context.Context, n types.NamespacedName) (types.UID, error) {
	var ca v1alpha1.ClusterCA
	err := a.api.Get(ctx, n, &ca)
	if apierrors.IsNotFound(err) { // or clusterpki's kinds are not installed
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read ClusterCA %s: %w", n, err)
	}
	return ca.UID, nil
}

// owners are the UIDs of a CA's namespace and ClusterCA as they are now.
func (a authorities) owners(ctx context.Context, r *authority.Record) (owners, error) {
	namespace, err := a.namespace(ctx, r.Namespace)
	if err != nil {
		return owners{}, err
	}
	keys, err := a.namespace(ctx, a.store.Namespace())
	if err != nil {
		return owners{}, err
	}
	object, err := a.object(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name})
	return owners{namespace, object, keys}, err
}

// errNotNamed refuses an argument that does not say which CA.
var errNotNamed = errors.New("it takes the CA's namespace and name, as in prod/k8s")

// caNamedBy reads NAMESPACE/NAME.
func caNamedBy(arg string) (types.NamespacedName, error) {
	namespace, name, both := strings.Cut(arg, "/")
	if !both || namespace == "" || name == "" || strings.Contains(name, "/") {
		return types.NamespacedName{}, fmt.Errorf("%q: %w", arg, errNotNamed)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
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
