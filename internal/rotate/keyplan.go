package rotate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/shell"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

// KeyPlan is what a rotation of a ServiceAccountKey would take, as far as specs and status tell.
type KeyPlan struct {
	Key     *v1alpha1.ServiceAccountKey
	Trigger string // to set
	// Servers are the API servers that name it, in the order of their turns.
	Servers []string
	// Manual are those whose acknowledgment a person has to state, Assumed those of which only time tells.
	Manual, Assumed []string
	// Least is the shortest that a phase can take.
	Least time.Duration
	// Warnings are what would hold it up, or break something.
	Warnings []string
}

// NewKeyPlan says what rotating a service account key takes; objects are those of its namespace.
func NewKeyPlan(now time.Time, key *v1alpha1.ServiceAccountKey, objects status.Objects, trigger string) KeyPlan {
	p := KeyPlan{Key: key, Trigger: trigger}
	mine := map[string]bool{status.KindServiceAccountKey + "/" + key.Name: true}
	servers := slices.Clone(objects.Servers)
	slices.SortFunc(servers, func(a, b v1alpha1.APIServerCertificate) int { return cmp.Compare(a.Name, b.Name) })
	for i := range servers {
		s := &servers[i]
		if s.ServiceAccountKeyName() != key.Name {
			continue
		}
		name := status.KindAPIServerCertificate + "/" + s.Name
		mine[name] = true
		p.Servers = append(p.Servers, name)
		switch s.Spec.Delivery.Mode {
		case v1alpha1.DeliveryManual:
			p.Manual = append(p.Manual, name)
		case v1alpha1.DeliveryAgent: // it tells by itself
		case v1alpha1.DeliveryMounted:
			p.Assumed = append(p.Assumed, name)
			p.Least = max(p.Least, s.Spec.Delivery.PropagationDelay.Duration)
		}
	}
	p.warn(now, objects, mine)
	return p
}

// warn notes what would hold the rotation up, or break something.
func (p *KeyPlan) warn(now time.Time, objects status.Objects, mine map[string]bool) {
	add := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	if len(p.Servers) == 0 {
		add("no APIServerCertificate names it in spec.serviceAccountKeyRef: the rotation waits for the first that does")
	}
	if phase := p.Key.Status.Rotation.Phase; phase != "" {
		add("a rotation is under way (%s): before the new key signs another trigger rolls it back and begins another one, afterwards one more follows", phase)
	}
	if tool, mark := GitOps(p.Key); tool != "" {
		add("%s keeps this object as it is in Git (%s): change the field there; what is changed in the cluster may be reverted, "+
			"and the rotation with it", tool, mark)
	}
	if c := meta.FindStatusCondition(p.Key.Status.Conditions, v1alpha1.RotationBlockedCondition); c != nil && c.Status == metav1.ConditionTrue {
		add("it is blocked: %s", c.Message)
	}
	for _, problem := range status.Build(now, objects, "").Problems {
		name := problem.Kind + "/" + problem.Name
		if mine[name] && problem.Severity == status.Error && problem.Reason != v1alpha1.RotationBlockedCondition {
			add("%s may hold it up: %s: %s", name, problem.Reason, problem.Message)
		}
	}
}

const keyChangeText = `To rotate it, change this one field, in Git if the object comes from there:

    apiVersion: clusterpki.io/v1alpha1
    kind: ServiceAccountKey
    metadata:
      name: %[1]s
      namespace: %[2]s
    spec:
      rotation:
        trigger: %[3]q

or in the cluster, by this command with --apply, or by

    kubectl patch serviceaccountkey %[1]s -n %[2]s --type=merge --field-manager=%[4]s -p %[5]s

`

// Text says what to change, and what happens then. With applied it leaves out how to change it.
func (p KeyPlan) Text(s status.Style, applied bool) (string, error) {
	var b strings.Builder
	now := timeline.PublicationOf(p.Key)
	fmt.Fprintf(&b, "%s: %s\n\n", s.Colored(status.Bold, fmt.Sprintf("ServiceAccountKey/%s in %s", p.Key.Name, p.Key.Namespace)), now.Title())
	if !applied {
		patch, err := Patch(p.Trigger, "")
		if err != nil {
			return "", err
		}
		quoted := shell.Quote(string(patch))
		fmt.Fprintf(&b, keyChangeText, p.Key.Name, p.Key.Namespace, p.Trigger, FieldManager, quoted)
	}
	b.WriteString("What happens then:\n\n")
	for i, step := range timeline.KeySteps(v1alpha1.KeyDistributingTrust) {
		fmt.Fprintf(&b, "  %d  %-18s %s\n", i+1, step.Phase, step.Note)
	}
	prose := func(text string, args ...any) { b.WriteString(s.Wrapped("", "", fmt.Sprintf(text, args...)) + "\n") }
	b.WriteString("\n")
	if len(p.Servers) > 0 {
		prose("In each phase these restart, one after the other, with the controller manager of the host: %s", shortened(p.Servers))
	}
	if p.Least > 0 {
		prose("A phase takes at least %s.", status.HumanDuration(p.Least))
	}
	if len(p.Manual) > 0 {
		prose("It waits until delivery.acknowledged.publicKeysSHA256 says with which keys these were started: %s", shortened(p.Manual))
	}
	if len(p.Assumed) > 0 {
		prose("Of these only time tells that they have read the new keys; restart them yourself in each phase: %s", shortened(p.Assumed))
	}
	prose("No token ends: the old key's are accepted for %s after the rotation (spec.retainOldKeyFor), and as long as any is left that never ends.",
		status.HumanDuration(p.Key.Spec.RetainOldKeyFor.Duration))
	for _, w := range p.Warnings {
		b.WriteString("\n" + s.Wrapped(s.Colored(status.Yellow, "warning")+"  ", "    ", w))
	}
	if len(p.Warnings) > 0 {
		b.WriteString("\n")
	}
	return b.String(), nil
}

// Report is the plan for programs.
func (p KeyPlan) Report(applied bool) (PlanReport, error) {
	patch, err := Patch(p.Trigger, "")
	if err != nil {
		return PlanReport{}, err
	}
	r := PlanReport{
		Header: status.HeaderOf("RotationPlan"), ObjectKind: status.KindServiceAccountKey, Namespace: p.Key.Namespace, Name: p.Key.Name,
		Generation: timeline.PublicationOf(p.Key).Active, Trigger: p.Trigger, Patch: patch, Applied: applied,
		Manual: p.Manual, Assumed: p.Assumed, Warnings: append([]string{}, p.Warnings...),
	}
	for _, step := range timeline.KeySteps(v1alpha1.KeyDistributingTrust) {
		r.Phases = append(r.Phases, PhaseReport{string(step.Phase), step.Note, len(p.Servers), int64(p.Least.Seconds())})
		r.LeastSeconds += int64(p.Least.Seconds())
	}
	return r, nil
}
