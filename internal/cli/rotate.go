package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

const rotateLong = `Says how to rotate a CA, or a service account key (sak/NAME), what happens then, how long it takes
at least, whom it waits for and what would hold it up. By itself it changes nothing in the cluster: the change is one field,
spec.rotation.trigger, and belongs into Git where the object comes from there.

--apply sets that field in the cluster, unless the object was changed since it was read, a
rotation is under way, or Argo CD or Flux keeps the object as it is in Git: they may revert the
change, and the rotation is then rolled back. --force sets it in the last two cases too.

--watch shows the progress until the rotation is completed: the one of --trigger or --apply,
else the one that is under way or the next one. Ctrl-C ends the watching; the rotation goes on.

It reads the objects of clusterpki, and no Secret.

`

const rotateExample = `  clusterpki rotate k8s -n prod                     # what to change, and what happens then
  clusterpki rotate k8s -n prod --watch             # then change it in Git, and look on
  clusterpki rotate k8s -n prod --apply --watch     # where nothing keeps the object as it is in Git
  clusterpki rotate sak/k8s-sa -n prod --watch      # a service account key`

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
		Use:   "rotate (CA | sak/NAME)",
		Short: "Say how to rotate a CA or a service account key, or do it, and show the progress",
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
	f.completeRotated(c)
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
	kind, name, err := rotated(name)
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
	if kind == status.KindServiceAccountKey {
		return rotateKey(c, api, f, objects, name, namespace)
	}
	ca := caNamed(objects, name)
	if ca == nil {
		return fmt.Errorf("rotate: %w", noCA(objects, name, namespace))
	}
	now := clock.RealClock{}.Now()
	desired := f.desired(now)
	err = f.asked(c, desired, ca.Spec.Rotation.Trigger, planned{
		show: func(style status.Style) (rotate.PlanReport, string, error) {
			plan := rotate.NewPlan(now, ca, objects, orNow(desired, now))
			return shown(plan.Report, func(applied bool) (string, error) { return plan.Text(now, style, applied) }, f.apply)
		},
		apply: func() error { return apply(c.Context(), api, ca, desired, f.force) },
	})
	if err != nil || !f.watch {
		return err
	}
	return newFollower(ca, objects, desired, c.OutOrStdout()).follow(c.Context(), api, f.timeout)
}

// rotated reads what is to be rotated: the name of a ClusterCA, or KIND/NAME.
func rotated(arg string) (kind, name string, err error) {
	if !strings.Contains(arg, "/") {
		return status.KindClusterCA, arg, nil
	}
	kind, name, err = target(strings.SplitN(arg, "/", 2))
	if err == nil && kind != status.KindClusterCA && kind != status.KindServiceAccountKey {
		err = fmt.Errorf("%s is neither a ClusterCA nor a ServiceAccountKey: a certificate is renewed by itself", arg)
	}
	return kind, name, err
}

// desired is the trigger to set; "" where only a plan is asked for, or a rotation that somebody else asks for.
func (f *rotateFlags) desired(now time.Time) string {
	if f.apply && f.trigger == "" {
		return rotate.TriggerAt(now)
	}
	return f.trigger
}

func caNamed(objects status.Objects, name string) *v1alpha1.ClusterCA {
	for i := range objects.CAs {
		if objects.CAs[i].Name == name {
			return &objects.CAs[i]
		}
	}
	return nil
}

// planned is a rotation that is asked for: how it is shown, and how its trigger is set.
type planned struct {
	show  func(status.Style) (rotate.PlanReport, string, error)
	apply func() error
}

// shown is a plan for programs and for people.
func shown(report func(applied bool) (rotate.PlanReport, error), text func(applied bool) (string, error), applied bool) (rotate.PlanReport, string, error) {
	r, err := report(applied)
	if err != nil {
		return rotate.PlanReport{}, "", err
	}
	people, err := text(applied)
	return r, people, err
}

// asked shows the plan and, where that is asked for, sets the trigger: people see first what will happen, and programs what has happened. A
// trigger that is set already is only looked on at.
func (f *rotateFlags) asked(c *cobra.Command, desired, present string, p planned) error {
	if desired != "" && desired == present {
		if f.apply || !f.watch {
			return fmt.Errorf("rotate: spec.rotation.trigger is %q already: choose another one", desired)
		}
		return nil
	}
	if !f.output.data() {
		if err := f.print(c, p); err != nil {
			return err
		}
	}
	if f.apply {
		if err := p.apply(); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	switch {
	case f.output.data():
		return f.print(c, p)
	case f.apply:
		fmt.Fprintf(c.OutOrStdout(), "\nspec.rotation.trigger is now %q.\n", desired)
	}
	if f.watch {
		fmt.Fprintln(c.OutOrStdout())
	}
	return nil
}

// print shows what a rotation takes.
func (f *rotateFlags) print(c *cobra.Command, p planned) error {
	style, _ := styleFor(c.OutOrStdout())
	report, text, err := p.show(style)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return f.output.print(c.OutOrStdout(), report, func() (string, error) { return text, nil })
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
	return setTrigger(ctx, api, ca.DeepCopy(), trigger, string(ca.Status.Rotation.Phase), force)
}

// setTrigger sets the trigger of an object that was read, unless somebody would revert that or a rotation is under way, or by force.
func setTrigger(ctx context.Context, api client.Client, o v1alpha1.Object, trigger, phase string, force bool) error {
	name := fmt.Sprintf("%s %q", o.Kind(), o.GetName())
	if tool, mark := rotate.GitOps(o); tool != "" && !force {
		return fmt.Errorf("not applied: %s keeps %s as it is in Git (%s) and may revert the change, and the rotation is then rolled back: "+
			"change spec.rotation.trigger in Git, or use --force", tool, name, mark)
	}
	if phase != "" && !force {
		return fmt.Errorf("not applied: a rotation is under way (%s): look on with --watch, or use --force to ask for another one", phase)
	}
	patch, err := rotate.Patch(trigger, o.GetResourceVersion())
	if err != nil {
		return err
	}
	err = api.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(rotate.FieldManager))
	if apierrors.IsConflict(err) {
		return fmt.Errorf("not applied: %s has changed since it was read: try again", name)
	}
	if err != nil {
		return fmt.Errorf("set spec.rotation.trigger of %s: %w", name, err)
	}
	return nil
}
