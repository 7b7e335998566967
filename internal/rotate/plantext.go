package rotate

import (
	"fmt"
	"strings"
	"time"

	"clusterpki.io/operator/internal/shell"
	"clusterpki.io/operator/internal/status"
)

// Text says what to change, and what happens then. With applied it leaves out how to change it.
func (p Plan) Text(now time.Time, s status.Style, applied bool) (string, error) {
	var b strings.Builder
	c := p.CA.Status.Certificate
	fmt.Fprint(&b, s.Colored(status.Bold, fmt.Sprintf("ClusterCA/%s in %s", p.CA.Name, p.CA.Namespace)))
	if !c.NotAfter.IsZero() {
		fmt.Fprintf(&b, ": generation %d signs, until %s (%s)", c.IssuerGeneration, c.NotAfter.UTC().Format(time.DateOnly), status.Until(now, c.NotAfter.Time))
	}
	b.WriteString("\n\n")
	if !applied {
		change, err := p.change()
		if err != nil {
			return "", err
		}
		b.WriteString(change)
	}
	b.WriteString(p.course(s))
	for _, w := range p.Warnings {
		b.WriteString("\n" + s.Wrapped(s.Colored(status.Yellow, "warning")+"  ", "    ", w))
	}
	if len(p.Warnings) > 0 {
		b.WriteString("\n")
	}
	return b.String(), nil
}

const changeText = `To rotate it, change this one field, in Git if the object comes from there:

    apiVersion: clusterpki.io/v1alpha1
    kind: ClusterCA
    metadata:
      name: %[1]s
      namespace: %[2]s
    spec:
      rotation:
        trigger: %[3]q

or in the cluster, by this command with --apply, or by

    kubectl patch clusterca %[1]s -n %[2]s --type=merge --field-manager=%[4]s -p %[5]s

`

func (p Plan) change() (string, error) {
	patch, err := Patch(p.Trigger, "")
	if err != nil {
		return "", err
	}
	quoted := shell.Quote(string(patch))
	return fmt.Sprintf(changeText, p.CA.Name, p.CA.Namespace, p.Trigger, FieldManager, quoted), nil
}

// course is what happens, phase by phase.
func (p Plan) course(s status.Style) string {
	var b strings.Builder
	b.WriteString("What happens then:\n\n")
	for i, phase := range p.Phases {
		fmt.Fprintf(&b, "  %d  %-18s %s", i+1, phase.Phase, phase.Does)
		if phase.Remarks != "" {
			b.WriteString(", " + phase.Remarks)
		}
		b.WriteString("\n")
		fmt.Fprintf(&b, "%23s waits for %s, at least %s\n", "", consumerCount(phase.Waits), status.HumanDuration(phase.Least))
	}
	b.WriteString("\n" + s.Wrapped("", "", fmt.Sprintf("It takes at least %s.", status.HumanDuration(p.Least))) + "\n")
	if len(p.Manual) > 0 {
		b.WriteString(s.Wrapped("", "", "It waits until delivery.acknowledged says what is in use at: "+shortened(p.Manual)) + "\n")
	}
	if len(p.Probed) > 0 {
		b.WriteString(s.Wrapped("", "", "It waits until the probe has observed the change at: "+shortened(p.Probed)) + "\n")
	}
	if len(p.Assumed) > 0 {
		b.WriteString(s.Wrapped("", "", "Before the old CA is withdrawn it stops, until a person accepts what is only assumed of "+shortened(p.Assumed)+
			": by spec.rotation.approved.withdrawal when it comes to that, or by spec.delivery.acceptAssumed: Always of each.") + "\n")
	}
	return b.String()
}

func consumerCount(n int) string {
	switch n {
	case 0:
		return "consumers that may yet appear"
	case 1:
		return "1 consumer"
	default:
		return fmt.Sprintf("%d consumers", n)
	}
}

const maxNames = 20

// shortened are the first names, and how many more there are.
func shortened(names []string) string {
	if len(names) > maxNames {
		names = append(names[:maxNames:maxNames], fmt.Sprintf("and %d more", len(names)-maxNames))
	}
	return strings.Join(names, ", ")
}
