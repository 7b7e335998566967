package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/ca"
	"clusterpki.io/operator/internal/records"
)

const authorityReleaseLong = `Gives CAs to the namespaces that have their names now. A namespace that was made anew, perhaps by somebody
else, does not inherit the keys of the one before, nor does one of another cluster in which a backup is
restored: its ClusterCAs wait, with the reason AuthorityRetained, for this command. So do all CAs whose Secrets
were restored or copied into another authority namespace than the one that held them: -A releases these, and
leaves those whose own namespace was made anew since.

Make sure that no other operator serves these CAs: two with one key, each with a ledger of its own, undo what the
other one does.

Make sure that the namespace is in the right hands: whoever may have something issued in it can then have
certificates of these CAs.

`

func newAuthorityRelease() *cobra.Command {
	var f authorityFlags
	var all, everywhere bool
	c := &cobra.Command{
		Use:   "release (NAMESPACE/NAME... | -n NAMESPACE --all | -A)",
		Short: "Give retained CAs to the namespaces that have their names now",
		Long:  authorityReleaseLong + exits(map[int]string{exitError: "it could not be done for one of them; the others are released"}),
		Example: "  clusterpki authority release prod/k8s\n  clusterpki authority release -n prod --all    # every CA of a namespace\n" +
			"  clusterpki authority release -A               # every CA, after the authority namespace was restored",
		RunE: func(c *cobra.Command, args []string) error {
			if err := whichCAs(args, all, everywhere); err != nil {
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
	f.completeRecords(c)
	c.Flags().BoolVar(&all, "all", false, "every CA of the namespace")
	c.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "every CA of all namespaces")
	return c
}

// whichCAs refuses flags that say two things, or nothing, about which CAs are meant.
func whichCAs(args []string, all, everywhere bool) error {
	switch {
	case len(args) > 0 && (all || everywhere):
		return errors.New("either name CAs, or use --all or --all-namespaces")
	case len(args) == 0 && !all && !everywhere:
		return fmt.Errorf("say which CAs: %w; or use --all or --all-namespaces", errNotNamed)
	}
	return nil
}

// releaseAll releases the CAs that are named, or those of a namespace, or all.
func (a authorities) releaseAll(ctx context.Context, w io.Writer, args []string, namespace string) error {
	var chosen []*authority.Record
	if len(args) == 0 {
		kept, damaged, err := a.store.List(ctx)
		if err != nil {
			return err
		}
		for name, err := range damaged {
			fmt.Fprintf(w, "%s: left as it is: %v\n", name, err)
		}
		for _, r := range kept {
			if namespace == "" || r.Namespace == namespace {
				chosen = append(chosen, r)
			}
		}
		if len(chosen) == 0 {
			return fmt.Errorf("namespace %q holds no CA of %s", a.store.Namespace(), where(namespace))
		}
	}
	for _, arg := range args {
		n, err := caNamedBy(arg)
		if err != nil {
			return err
		}
		r, err := a.named(ctx, n)
		if err != nil {
			return err
		}
		chosen = append(chosen, r)
	}
	var failed []error
	if len(args) == 0 && namespace != "" {
		failed = append(failed, a.releaseDelivery(ctx, w, namespace))
	}
	for _, r := range chosen {
		if err := a.release(ctx, w, r, scopeOf(args, namespace)); err != nil {
			failed = append(failed, fmt.Errorf("%s/%s: %w", r.Namespace, r.Name, err))
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

// scope is how many CAs are meant.
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

// release binds a CA to its namespace as that is now. Of several, those with nothing to release are no error; and of all, only
// those are released that came with a restored authority namespace: one whose namespace was made anew under the eyes of this one
// is a matter of its own.
func (a authorities) release(ctx context.Context, w io.Writer, r *authority.Record, of scope) error {
	now, err := a.owners(ctx, r)
	if err != nil {
		return err
	}
	next, err := released(r, now)
	switch {
	case errors.Is(err, errBound), err != nil && r.Tombstone() && of != named:
		fmt.Fprintf(w, "%s/%s: %v\n", r.Namespace, r.Name, err)
		return nil
	case err != nil:
		return err
	case of == everything && r.HomeUID == now.home:
		fmt.Fprintf(w, "%s/%s: left as it is: its namespace was made anew, and the authority namespace was not: release it by its name\n", r.Namespace, r.Name)
		return nil
	}
	place := records.Place{Namespace: next.Namespace, NamespaceUID: next.NamespaceUID, HomeUID: next.HomeUID}
	if err := records.New(a.store.Namespace(), a.api, nil, nil).Release(ctx, place); err != nil { // before anything of it is issued again
		return err
	}
	if _, err := a.store.Commit(ctx, r, next); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s/%s: released to namespace %s (UID %s)\n", r.Namespace, r.Name, r.Namespace, now.namespace)
	if of == everything {
		return a.releaseDelivery(ctx, w, r.Namespace)
	}
	return nil
}

const authorityDeleteLong = `Destroys the keys of a CA at once. Only a backup restores them: what the CA has signed is valid until it
expires, and cannot be renewed.

A tombstone is left, which keeps the numbers of the generations from being given again, and former triggers from
starting anything; a new ClusterCA of the name then gets another key. --tombstone removes that too.

It refuses as long as the CA's ClusterCA is there.

`

type authorityDeleteFlags struct {
	authorityFlags
	yes, tombstone bool
}

func newAuthorityDelete() *cobra.Command {
	var f authorityDeleteFlags
	c := &cobra.Command{
		Use:     "delete NAMESPACE/NAME --yes",
		Short:   "Destroy the keys of a CA that has no ClusterCA",
		Long:    authorityDeleteLong + exits(nil),
		Example: "  clusterpki authority delete prod/k8s --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := caNamedBy(args[0])
			if err != nil {
				return fmt.Errorf("authority delete: %w", err)
			}
			a, _, err := f.open(false)
			if err != nil {
				return err
			}
			if err := a.destroy(c.Context(), c.OutOrStdout(), n, f.yes, f.tombstone); err != nil {
				return fmt.Errorf("authority delete: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeRecords(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do it: the keys are gone then")
	c.Flags().BoolVar(&f.tombstone, "tombstone", false, "remove the tombstone too: numbers of generations begin at 1 again")
	return c
}

func (a authorities) destroy(ctx context.Context, w io.Writer, n types.NamespacedName, yes, tombstone bool) error {
	r, err := a.named(ctx, n)
	if err != nil {
		return err
	}
	now, err := a.owners(ctx, r)
	if err != nil {
		return err
	}
	if err := destroyable(r, now); err != nil {
		return err
	}
	if !yes {
		return fmt.Errorf("this would destroy %d keys of %s for good: add --yes", len(r.Ledger.Generations), n)
	}
	if !r.Tombstone() {
		if r, err = a.empty(ctx, r); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: its keys are destroyed\n", n)
	} else if !tombstone {
		return fmt.Errorf("the keys of %s are destroyed already: --tombstone removes what is left", n)
	}
	if !tombstone {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.store.Namespace(), Name: authority.SecretName(n.Namespace, n.Name)}}
	if err := a.api.Delete(ctx, secret, client.Preconditions{ResourceVersion: &r.Version}); err != nil {
		return fmt.Errorf("remove the tombstone: %w", err)
	}
	fmt.Fprintf(w, "%s: its tombstone is removed\n", n)
	return nil
}

// empty marks a CA as deleted, without which nothing destroys a key, and leaves a tombstone of it.
func (a authorities) empty(ctx context.Context, r *authority.Record) (*authority.Record, error) {
	if r.Deleted.IsZero() {
		next := r.Next()
		next.Deleted = a.clock.Latest().UTC().Truncate(time.Second)
		var err error
		if r, err = a.store.Commit(ctx, r, next); err != nil {
			return nil, err
		}
	}
	return ca.Destroy(ctx, a.store, r)
}
