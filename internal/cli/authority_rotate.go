package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/controller"
)

const authorityRotateLong = `Rotates the delivery key of a namespace, which signs what the agents of its hosts install. It makes the next key, of
which agents learn by what the present one signs. Once every agent reports that it has the next key, the operator signs
by that one, and agents take nothing more that the old one has signed. Hosts that are down are waited for. Give it again
to see whom it waits for.

--now does not wait: for a host that never comes back, or for a key that is in other hands. Hosts that have not got the
next key install nothing more until the configuration of their agents is written anew ('clusterpki agent config') and
they are restarted. Of a key that is in other hands do that on every host: whoever has it may have named a next one of
his own. If there was a next key already it is out too, so give --now twice then.

`

type authorityRotateFlags struct {
	authorityFlags
	now bool
}

func newAuthorityRotate() *cobra.Command {
	var f authorityRotateFlags
	c := &cobra.Command{
		Use:     "rotate-delivery-key",
		Short:   "Rotate the delivery key of a namespace",
		Long:    authorityRotateLong + exits(map[int]string{0: "done, or under way"}),
		Example: "  clusterpki authority rotate-delivery-key -n prod\n  clusterpki authority rotate-delivery-key -n prod --now    # the key is in other hands",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, namespace, err := f.open(false)
			if err != nil {
				return err
			}
			if err := a.rotateDelivery(c.Context(), c.OutOrStdout(), namespace, f.now); err != nil {
				return fmt.Errorf("authority rotate-delivery-key: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	c.Flags().BoolVar(&f.now, "now", false, "let the next key sign at once: hosts that have not got it need their agent's configuration written anew")
	return c
}

// delivery is the delivery key of a namespace as it is now.
func (a authorities) delivery(ctx context.Context, namespace string) (*authority.DeliveryKey, error) {
	key, err := a.store.StoredDelivery(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, fmt.Errorf("namespace %q has no delivery key: the operator makes one once something there is issued with delivery.mode: Agent", namespace)
	}
	uid, err := a.namespace(ctx, namespace)
	if err == nil && uid != key.NamespaceUID {
		err = fmt.Errorf("the delivery key of namespace %q is that of another namespace of this name: run `clusterpki authority release -n %s --all` first",
			namespace, namespace)
	}
	return key, err
}

// rotateDelivery makes the next delivery key of a namespace, or lets it sign, and says whom it waits for.
func (a authorities) rotateDelivery(ctx context.Context, w io.Writer, namespace string, now bool) error {
	was, err := a.delivery(ctx, namespace)
	if err != nil {
		return err
	}
	next, err := was.WithNext(a.clock.Now())
	if err != nil {
		return err
	}
	key, made := consumers.NextKey{ID: next.NextID(), Named: next.NextNamed}, was.NextID() == ""
	agents, err := controller.AgentsOf(ctx, a.api, a.store.Namespace(), namespace)
	if err != nil {
		return err
	}
	if now {
		next = next.Succeeded()
	}
	if now || made {
		if err := a.store.ReplaceDelivery(ctx, was, next); err != nil {
			return err
		}
	}
	if made {
		fmt.Fprintf(w, "%s: the next delivery key is made: %s\n", namespace, key.ID)
	}
	if now {
		fmt.Fprintf(w, "%s: delivery key %s signs from now on, in place of %s\n", namespace, key.ID, was.ID())
	} else {
		fmt.Fprintf(w, "%s: delivery key %s signs until every agent has the next one, %s\n", namespace, was.ID(), key.ID)
	}
	advise(w, namespace, now, made, len(agents), consumers.WithoutKey(agents, key, a.clock.Now()))
	return nil
}

// advise says what is left to do, where the next delivery key was made just now or before, and some agents lack it.
func advise(w io.Writer, namespace string, now, made bool, agents int, lacking []consumers.Lacking) {
	for _, l := range lacking {
		fmt.Fprintf(w, "  %s\n", l)
	}
	switch {
	case now && len(lacking) > 0:
		fmt.Fprintf(w, "write the configuration of these hosts' agents anew, with `clusterpki agent config -n %s --host HOST`, and restart them\n", namespace)
	case len(lacking) > 0:
		fmt.Fprintln(w, "for a host that never comes back delete its objects or take it out of its ClusterPKI, which makes them again, or give --now")
	case !now && agents == 0:
		fmt.Fprintln(w, "no object is delivered by an agent here, so no report of one lets the next key sign: give --now")
	}
	if now && !made {
		fmt.Fprintln(w, "this key was there before: if the one before it is in other hands, it may be too, so give --now again")
	}
}
