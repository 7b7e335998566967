package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

const rotateLong = `Says how to rotate a CA, what happens then, how long it takes at least, whom it waits for and
what would hold it up. By itself it changes nothing in the cluster: the change is one field,
spec.rotation.trigger, and belongs into Git where the object comes from there.

--apply sets that field in the cluster, unless the object was changed since it was read, a
rotation is under way, or Argo CD or Flux keeps the object as it is in Git: they may revert the
change, and the rotation is then rolled back. --force sets it in the last two cases too.

--watch shows the progress until the rotation is completed: the one of --trigger or --apply,
else the one that is under way or the next one. Ctrl-C ends the watching; the rotation goes on.

It reads ClusterCAs, APIServerCertificates and NodeCredentials, and no Secret.

`

const rotateExample = `  clusterpki rotate k8s -n prod                     # what to change, and what happens then
  clusterpki rotate k8s -n prod --watch             # then change it in Git, and look on
  clusterpki rotate k8s -n prod --apply --watch     # where nothing keeps the object as it is in Git`

type rotateFlags struct {
	connection
	trigger             string
	apply, force, watch bool
	timeout             time.Duration
	output              format
}

func newRotate() *cobra.Command {
	var f rotateFlags
	c := &cobra.Command{
		Use:   "rotate CA",
		Short: "Say how to rotate a CA, or do it, and show the progress",
		Long: rotateLong + exits(map[int]string{
			0: "completed; without --watch: said, or set", exitError: "the question could not be asked, or the change was refused",
			exitUnwell:  "the rotation was rolled back, or cannot begin before something is changed",
			exitTimeout: "--timeout ran out", exitInterrupted: "Ctrl-C; the rotation goes on",
		}),
		Example: rotateExample,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runRotate(c, f, args[0]) },
	}
	f.addFlags(c)
	f.completeCA(c)
	flags := c.Flags()
	flags.StringVar(&f.trigger, "trigger", "", "any `text` that is not the present trigger (default: the present time)")
	flags.BoolVar(&f.apply, "apply", false, "set spec.rotation.trigger in the cluster")
	flags.BoolVar(&f.force, "force", false, "with --apply: even if Argo CD or Flux may revert it, or a rotation is under way")
	flags.BoolVar(&f.watch, "watch", false, "show the progress until the rotation is completed")
	f.output.addFlag(c, formatJSON, formatYAML)
	flags.DurationVar(&f.timeout, "timeout", 0, "with --watch: how long to look on; 0: without end")
	return c
}

// fit refuses flags that do nothing together.
func (f *rotateFlags) fit() error {
	switch {
	case f.watch && f.output.data():
		return errors.New("--watch is for people: leave out --output, and read status.rotation of the ClusterCA")
	case f.timeout != 0 && !f.watch:
		return errors.New("--timeout is how long to look on: use it with --watch")
	case f.force && !f.apply:
		return errors.New("--force is of --apply: use it with that")
	}
	return nil
}

func runRotate(c *cobra.Command, f rotateFlags, name string) error {
	if err := f.fit(); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	name, err := nameOfCA(name)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	api, namespace, err := f.connect()
	if err != nil {
		return err
	}
	objects, err := readObjects(c.Context(), api, namespace)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	ca := caNamed(objects, name)
	if ca == nil {
		return fmt.Errorf("rotate: %w", noCA(objects, name, namespace))
	}
	now := clock.RealClock{}.Now()
	desired := f.trigger
	if f.apply && desired == "" {
		desired = rotate.TriggerAt(now)
	}
	switch set := desired != "" && desired == ca.Spec.Rotation.Trigger; {
	case set && (f.apply || !f.watch):
		return fmt.Errorf("rotate: spec.rotation.trigger is %q already: choose another one", desired)
	case !set:
		plan := rotate.NewPlan(now, ca, objects, orNow(desired, now))
		if err := planned(c, api, f, plan, desired, now); err != nil {
			return err
		}
		if !f.watch {
			return nil
		}
		fmt.Fprintln(c.OutOrStdout())
	}
	return newFollower(ca, objects, desired, c.OutOrStdout()).follow(c.Context(), api, f.timeout)
}

func caNamed(objects status.Objects, name string) *v1alpha1.ClusterCA {
	for i := range objects.CAs {
		if objects.CAs[i].Name == name {
			return &objects.CAs[i]
		}
	}
	return nil
}

// planned shows the plan and, where that is asked for, sets the trigger: people see first what will happen, and
// programs what has happened.
func planned(c *cobra.Command, api client.Client, f rotateFlags, p rotate.Plan, desired string, now time.Time) error {
	if !f.output.data() {
		if err := printPlan(c, f, p, now); err != nil {
			return err
		}
	}
	if f.apply {
		if err := apply(c.Context(), api, p.CA, desired, f.force); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	switch {
	case f.output.data():
		return printPlan(c, f, p, now)
	case f.apply:
		fmt.Fprintf(c.OutOrStdout(), "\nspec.rotation.trigger is now %q.\n", desired)
	}
	return nil
}

// printPlan shows what a rotation takes.
func printPlan(c *cobra.Command, f rotateFlags, p rotate.Plan, now time.Time) error {
	report, err := p.Report(f.apply)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return f.output.print(c.OutOrStdout(), report, func() (string, error) {
		style, _ := styleFor(c.OutOrStdout())
		return p.Text(now, style, f.apply)
	})
}

func orNow(trigger string, now time.Time) string {
	if trigger == "" {
		return rotate.TriggerAt(now)
	}
	return trigger
}

// apply sets the trigger, where nobody would revert it.
func apply(ctx context.Context, api client.Client, ca *v1alpha1.ClusterCA, trigger string, force bool) error {
	if ca.Spec.Source.IsImport() {
		return fmt.Errorf("not applied: the CA is imported, and a trigger by itself does not rotate it; put another CA into Secret %q, and name it in "+
			"spec.source.import.certificateSHA256 and rootSHA256",
			ca.Spec.Source.Import.SecretRef.Name)
	}
	if tool, mark := rotate.GitOps(ca); tool != "" && !force {
		return fmt.Errorf("not applied: %s keeps ClusterCA %q as it is in Git (%s) and may revert the change, and the rotation is then rolled back: "+
			"change spec.rotation.trigger in Git, or use --force", tool, ca.Name, mark)
	}
	if phase := ca.Status.Rotation.Phase; phase != "" && !force {
		return fmt.Errorf("not applied: a rotation is under way (%s): look on with --watch, or use --force to ask for another one", phase)
	}
	patch, err := rotate.Patch(trigger, ca.ResourceVersion)
	if err != nil {
		return err
	}
	err = api.Patch(ctx, ca.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(rotate.FieldManager))
	if apierrors.IsConflict(err) {
		return fmt.Errorf("not applied: ClusterCA %q has changed since it was read: try again", ca.Name)
	}
	if err != nil {
		return fmt.Errorf("set spec.rotation.trigger of ClusterCA %q: %w", ca.Name, err)
	}
	return nil
}
