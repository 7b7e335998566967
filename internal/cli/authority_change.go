package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/records"
)

const authorityReleaseLong = `Gives CAs and service account keys to the namespaces that have their names now. A namespace that was made anew,
perhaps by somebody else, does not inherit the keys of the one before, nor does one of another cluster in which a
backup is restored: its ClusterCAs and ServiceAccountKeys wait, with the reason AuthorityRetained, for this command. So do
all whose Secrets were restored or copied into another authority namespace than the one that held them: -A releases
these, and leaves those whose own namespace was made anew since.

Make sure that no other operator serves them: two with one key, each with a ledger of its own, undo what the other
one does.

Make sure that the namespace is in the right hands: whoever may have something issued in it can then have
certificates of these CAs, and whoever reads its Secrets makes tokens of every service account.

`

func newAuthorityRelease() *cobra.Command {
	var f authorityFlags
	var all, everywhere bool
	c := &cobra.Command{
		Use:   "release ([KIND/]NAMESPACE/NAME... | -n NAMESPACE --all | -A)",
		Short: "Give what is retained to the namespaces that have their names now",
		Long:  authorityReleaseLong + exits(map[int]string{exitError: "it could not be done for one of them; the others are released"}),
		Example: "  clusterpki authority release prod/k8s                           # a CA\n" +
			"  clusterpki authority release serviceaccountkeys/prod/k8s-sa     # service account keys\n" +
			"  clusterpki authority release clusterpkis/prod/k8s               # which objects a ClusterPKI has made\n" +
			"  clusterpki authority release -n prod --all                      # all of a namespace\n" +
			"  clusterpki authority release -A                                 # all, after the authority namespace was restored",
		RunE: func(c *cobra.Command, args []string) error {
			if err := which(args, all, everywhere); err != nil {
				return fmt.Errorf("authority release: %w", err)
			}
			a, namespace, err := f.open(everywhere)
			if err != nil {
				return err
			}
			if err := a.releaseAll(c.Context(), c.OutOrStdout(), args, namespace); err != nil {
				return fmt.Errorf("authority release: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeKept(c)
	c.Flags().BoolVar(&all, "all", false, "everything of the namespace")
	c.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "everything of all namespaces")
	return c
}

// which refuses flags that say two things, or nothing, about what is meant.
func which(args []string, all, everywhere bool) error {
	switch {
	case len(args) > 0 && (all || everywhere):
		return errors.New("either name CAs, or use --all or --all-namespaces")
	case len(args) == 0 && !all && !everywhere:
		return fmt.Errorf("say which: %w; or use --all or --all-namespaces", authority.ErrNoRef)
	}
	return nil
}

// chosen is what is named, or all of a namespace, or all.
func (a authorities) chosen(ctx context.Context, w io.Writer, args []string, namespace string) ([]authority.Kept, error) {
	var out []authority.Kept
	for _, arg := range args {
		of, err := authority.ParseRef(arg)
		if err != nil {
			return nil, err
		}
		kept, err := a.named(ctx, of)
		if err != nil {
			return nil, err
		}
		out = append(out, kept)
	}
	if len(args) > 0 {
		return out, nil
	}
	all, damaged, err := a.store.ListKept(ctx)
	if err != nil {
		return nil, err
	}
	for name, err := range damaged {
		fmt.Fprintf(w, "%s: left as it is: %v\n", name, err)
	}
	for _, kept := range all {
		if namespace == "" || kept.Ref().Namespace == namespace {
			out = append(out, kept)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("namespace %q holds no CA of %s", a.store.Namespace(), where(namespace))
	}
	return out, nil
}

// releaseAll releases what is named, or all of a namespace, or all.
func (a authorities) releaseAll(ctx context.Context, w io.Writer, args []string, namespace string) error {
	chosen, err := a.chosen(ctx, w, args, namespace)
	if err != nil {
		return err
	}
	var failed []error
	if len(args) == 0 && namespace != "" {
		failed = append(failed, a.releaseDelivery(ctx, w, namespace))
	}
	for _, kept := range chosen {
		if err := a.release(ctx, w, kept, scopeOf(args, namespace)); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", kept.Ref(), err))
		}
	}
	return errors.Join(failed...)
}

// releaseDelivery gives the delivery key of a namespace to the one that has its name now.
func (a authorities) releaseDelivery(ctx context.Context, w io.Writer, namespace string) error {
	key, err := a.store.StoredDelivery(ctx, namespace)
	if err != nil || key == nil {
		return err
	}
	uid, err := a.namespace(ctx, namespace)
	if err != nil || uid == "" || uid == key.NamespaceUID {
		return err
	}
	if err := a.store.ReleaseDelivery(ctx, key, uid); err != nil {
		return err
	}
	fmt.Fprintf(w, "the delivery key of %s: released to namespace %s (UID %s)\n", namespace, namespace, uid)
	return nil
}

// scope is how much is meant.
type scope int

const (
	named scope = iota
	ofNamespace
	everything
)

func scopeOf(args []string, namespace string) scope {
	switch {
	case len(args) > 0:
		return named
	case namespace != "":
		return ofNamespace
	default:
		return everything
	}
}

// release binds what is kept to its namespace as that is now. Of several, those with nothing to release are no error; and of all, only
// those are released that came with a restored authority namespace: one whose namespace was made anew under the eyes of this one
// is a matter of its own.
func (a authorities) release(ctx context.Context, w io.Writer, kept authority.Kept, of scope) error {
	ref := kept.Ref()
	now, err := a.owners(ctx, ref)
	if err != nil {
		return err
	}
	next, err := released(kept, now)
	switch {
	case errors.Is(err, errBound), err != nil && kept.Tombstone() && of != named:
		fmt.Fprintf(w, "%s: %v\n", ref, err)
		return nil
	case err != nil:
		return err
	case of == everything && kept.Whose().HomeUID == now.home:
		fmt.Fprintf(w, "%s: left as it is: its namespace was made anew, and the authority namespace was not: release it by its name\n", ref)
		return nil
	}
	if f, ok := next.(*authority.Family); ok {
		if next, err = a.knownAgain(ctx, f); err != nil {
			return err
		}
	}
	id := next.Whose()
	place := records.Place{Namespace: id.Namespace, NamespaceUID: id.NamespaceUID, HomeUID: id.HomeUID}
	if err := records.New(a.store.Namespace(), a.api, nil, nil).Release(ctx, place); err != nil { // before anything of it is issued again
		return err
	}
	if _, err := a.store.CommitKept(ctx, kept, next); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: released to namespace %s (UID %s)\n", ref, ref.Namespace, now.namespace)
	if of == everything {
		return a.releaseDelivery(ctx, w, ref.Namespace)
	}
	return nil
}

// knownAgain is a family whose objects were restored by another tool, which gives them other UIDs: they are known by the nonces that they bear.
func (a authorities) knownAgain(ctx context.Context, f *authority.Family) (*authority.Family, error) {
	nonces := map[authority.ChildKey]string{}
	for key, child := range f.Children {
		i := slices.IndexFunc(v1alpha1.Kinds(), func(k v1alpha1.KindInfo) bool { return k.Name == key.Kind })
		if i < 0 {
			continue
		}
		o := v1alpha1.Kinds()[i].New()
		err := a.api.Get(ctx, client.ObjectKey{Namespace: f.Namespace, Name: key.Name}, o)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		if child.UID != "" && o.GetUID() == child.UID {
			return f, nil // they are those of before
		}
		nonces[key] = o.GetAnnotations()[v1alpha1.NonceAnnotation]
	}
	return f.KnownBy(nonces), nil
}

const authorityDeleteLong = `Destroys the keys of a CA, or of a ServiceAccountKey, at once. Only a backup restores them: what a CA has signed is
valid until it expires, and cannot be renewed; tokens end when the API servers restart with other keys.

A tombstone is left, which keeps the numbers of the keys from being given again, and former triggers from starting
anything; a new object of the name then gets another key. --tombstone removes that too.

It refuses as long as the ClusterCA, or the ServiceAccountKey, is there.

`

type authorityDeleteFlags struct {
	authorityFlags
	yes, tombstone bool
}

func newAuthorityDelete() *cobra.Command {
	var f authorityDeleteFlags
	c := &cobra.Command{
		Use:     "delete [KIND/]NAMESPACE/NAME --yes",
		Short:   "Destroy keys whose ClusterCA or ServiceAccountKey is gone",
		Long:    authorityDeleteLong + exits(nil),
		Example: "  clusterpki authority delete prod/k8s --yes\n  clusterpki authority delete serviceaccountkeys/prod/k8s-sa --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			of, err := authority.ParseRef(args[0])
			if err != nil {
				return fmt.Errorf("authority delete: %w", err)
			}
			a, _, err := f.open(false)
			if err != nil {
				return err
			}
			if err := a.destroy(c.Context(), c.OutOrStdout(), of, f.yes, f.tombstone); err != nil {
				return fmt.Errorf("authority delete: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeKept(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do it: the keys are gone then")
	c.Flags().BoolVar(&f.tombstone, "tombstone", false, "remove the tombstone too: the numbers of keys begin at 1 again")
	return c
}

func (a authorities) destroy(ctx context.Context, w io.Writer, of authority.Ref, yes, tombstone bool) error {
	kept, err := a.named(ctx, of)
	if err != nil {
		return err
	}
	now, err := a.owners(ctx, of)
	if err != nil {
		return err
	}
	if err := destroyable(kept, now); err != nil {
		return err
	}
	if !yes {
		return fmt.Errorf("this would destroy %d keys of %s for good: add --yes", len(kept.States()), of)
	}
	if of.Kind == authority.KindFamily {
		if err := a.store.Remove(ctx, kept); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: it is not known any more which objects it has made\n", of)
		return nil
	}
	if !kept.Tombstone() {
		if kept, err = a.empty(ctx, kept); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: its keys are destroyed\n", of)
	} else if !tombstone {
		return fmt.Errorf("the keys of %s are destroyed already: --tombstone removes what is left", of)
	}
	if !tombstone {
		return nil
	}
	if err := a.store.Remove(ctx, kept); err != nil {
		return fmt.Errorf("remove the tombstone: %w", err)
	}
	fmt.Fprintf(w, "%s: its tombstone is removed\n", of)
	return nil
}

// empty marks what is kept as deleted, without which nothing destroys a key, and leaves a tombstone of it.
func (a authorities) empty(ctx context.Context, kept authority.Kept) (authority.Kept, error) {
	if kept.MarkedAt().IsZero() {
		var err error
		kept, err = a.store.CommitKept(ctx, kept, kept.Given(kept.Whose(), a.clock.Latest().UTC().Truncate(time.Second)))
		if err != nil {
			return nil, err
		}
	}
	return a.store.CommitKept(ctx, kept, kept.Destroyed())
}
