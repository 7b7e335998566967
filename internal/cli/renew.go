package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

const renewLong = `Has the certificate of a NodeCredential or an APIServerCertificate re-issued now, by the same CA and
with a new key, whatever its dates: it sets spec.renewal.trigger, which takes the verb renew on the object.
A key that stays on its host is kept. What is issued reaches the host as always, by delivery.

An object that a ClusterPKI made is renewed in the same way: the field is yours, and the ClusterPKI leaves it.
Where Argo CD or Flux keeps the object as it is in Git, nothing is written, and what to put into Git is
printed; --force writes all the same. A text that they then put back re-issues nothing. --dry-run only
prints it.

It reads the object, and no Secret.

`

const renewExample = `  clusterpki renew nodecred/k8s-node1-kubelet -n prod
  clusterpki renew asc/k8s-master -n prod --trigger incident-42`

// renewManager is whom the API server notes down for a trigger of a renewal.
const renewManager = "clusterpki-renew"

type renewFlags struct {
	connection
	trigger       string
	force, dryRun bool
}

func newRenew() *cobra.Command {
	var f renewFlags
	c := &cobra.Command{
		Use:   "renew KIND/NAME",
		Short: "Have a certificate re-issued now",
		Long: renewLong + exits(map[int]string{
			0: "it is set; with --dry-run: printed", exitError: "it could not be set",
		}),
		Example: renewExample,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := runRenew(c, f, args); err != nil {
				return fmt.Errorf("renew: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeObject(c)
	flags := c.Flags()
	flags.StringVar(&f.trigger, "trigger", "", "any `text` that was not the trigger before (default: the present time)")
	flags.BoolVar(&f.force, "force", false, "write even if Argo CD or Flux may revert it")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be written")
	return c
}

func runRenew(c *cobra.Command, f renewFlags, args []string) error {
	kind, name, err := renewed(args)
	if err != nil {
		return err
	}
	api, namespace, err := f.connect()
	if err != nil {
		return err
	}
	o, present, err := readRenewed(c.Context(), api, kind, client.ObjectKey{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	if f.trigger == "" {
		f.trigger = rotate.TriggerAt(clock.RealClock{}.Now())
	}
	if f.trigger == present {
		return fmt.Errorf("spec.renewal.trigger is %q already: choose another one", present)
	}
	return f.write(c, api, o)
}

// renewed reads what is to be renewed, and refuses what has no certificate that is renewed in this way.
func renewed(args []string) (kind, name string, err error) {
	kind, name, err = target(args)
	switch {
	case err != nil:
		return "", "", err
	case kind == status.KindClusterCA, kind == status.KindServiceAccountKey:
		return "", "", fmt.Errorf("a %s is rotated: clusterpki rotate", kind)
	case kind != status.KindAPIServerCertificate && kind != status.KindNodeCredential:
		return "", "", fmt.Errorf("a %s has no certificate of its own: name an APIServerCertificate or a NodeCredential", kind)
	}
	return kind, name, nil
}

// readRenewed reads an object, and its present trigger.
func readRenewed(ctx context.Context, api client.Client, kind string, key client.ObjectKey) (o v1alpha1.Object, present string, err error) {
	var server v1alpha1.APIServerCertificate
	var credential v1alpha1.NodeCredential
	o = &credential
	if kind == status.KindAPIServerCertificate {
		o = &server
	}
	err = api.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		names := ""
		if objects, err := readObjects(ctx, api, key.Namespace); err == nil {
			names = near(key.Name, namesOf(objects, kind))
		}
		return nil, "", fmt.Errorf("there is no %s %q%s%s", kind, key.Name, in(key.Namespace), names)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s %q: %w", kind, key.Name, err)
	}
	if kind == status.KindAPIServerCertificate {
		return o, server.Spec.Renewal.Trigger, nil
	}
	return o, credential.Spec.Renewal.Trigger, nil
}

// write sets the trigger, where nobody would revert it.
func (f renewFlags) write(c *cobra.Command, api client.Client, o v1alpha1.Object) error {
	name := o.Kind() + "/" + o.GetName()
	text := fmt.Sprintf("spec:\n  renewal:\n    trigger: %q\n", f.trigger)
	if f.dryRun {
		fmt.Fprint(c.OutOrStdout(), text)
		return nil
	}
	if tool, mark := rotate.GitOps(o); tool != "" && !f.force {
		return fmt.Errorf("not written: %s keeps %s as it is in Git (%s): put this there, or use --force\n%s", tool, name, mark, text)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()},
		"spec":     map[string]any{"renewal": map[string]any{"trigger": f.trigger}},
	})
	if err != nil {
		return fmt.Errorf("encode the patch: %w", err)
	}
	serial := o.IssuedCertificate().SerialNumber
	err = api.Patch(c.Context(), o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(renewManager))
	if apierrors.IsConflict(err) {
		return fmt.Errorf("not written: %s has changed since it was read: try again", name)
	}
	if err != nil {
		return fmt.Errorf("set spec.renewal.trigger of %s: %w", name, err)
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: spec.renewal.trigger is now %q.\n", name, f.trigger)
	if serial != "" {
		fmt.Fprintf(c.OutOrStdout(), "Certificate %s is re-issued: status.certificate.serialNumber says when.\n", serial)
	}
	return nil
}
