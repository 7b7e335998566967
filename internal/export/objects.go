package export

import (
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
)

// Objects are the custom resources of a namespace.
type Objects struct {
	CAs         []v1alpha1.ClusterCA
	Servers     []v1alpha1.APIServerCertificate
	Credentials []v1alpha1.NodeCredential
	Keys        []v1alpha1.ServiceAccountKey
}

// Of are those that are for a host.
func (o Objects) Of(host string) Objects {
	o.Servers = slices.DeleteFunc(slices.Clone(o.Servers), func(s v1alpha1.APIServerCertificate) bool { return s.Spec.HostName != host })
	o.Credentials = slices.DeleteFunc(slices.Clone(o.Credentials), func(c v1alpha1.NodeCredential) bool { return c.Spec.HostName != host })
	return o
}

// Problem is why something must not be delivered to a host, be it by a person or by an agent.
type Problem struct {
	Text string
	// AwaitsHost: what is missing is the host's own request for a certificate, which its agent makes.
	AwaitsHost bool
}

// Problems says why what is for a host must not be delivered to it as it stands, or no right to read it be given.
func (o Objects) Problems(host string) []Problem {
	var out []Problem
	say := func(format string, args ...any) { out = append(out, Problem{Text: fmt.Sprintf(format, args...)}) }
	of := o.Of(host)
	if len(of.Servers) > 1 {
		say("APIServerCertificates %q and %q are both for host %q, and one host serves one: change hostName of one of them",
			of.Servers[0].Name, of.Servers[1].Name, host)
	}
	for i := range of.Servers {
		out = append(out, o.problems(&of.Servers[i])...)
		out = append(out, o.keyProblems(&of.Servers[i])...)
	}
	for i := range of.Credentials {
		out = append(out, o.problems(&of.Credentials[i])...)
	}
	for _, text := range o.misplaced(host) {
		say("%s", text)
	}
	return out
}

// called is how a credential is called in messages.
func called(c *v1alpha1.NodeCredential) string {
	return fmt.Sprintf("NodeCredential %q (role %s)", c.Name, c.Spec.Role)
}

// problems are those of one object.
func (o Objects) problems(of v1alpha1.Object) []Problem {
	var out []Problem
	for _, name := range of.SecretNames() {
		if holds := o.holds(name, of); holds != "" {
			out = append(out, Problem{Text: fmt.Sprintf("%s %q names Secret %q, which holds %s: choose another name in its spec",
				of.Kind(), of.GetName(), name, holds)})
		}
	}
	if text, awaits := unready(of); text != "" {
		out = append(out, Problem{text, awaits})
	}
	return out
}

// holds says whose keys a Secret holds, or held before they were taken over, other than an object's own: those of a ClusterCA or of a ServiceAccountKey; ""
// for none.
func (o Objects) holds(secret string, than v1alpha1.Object) string {
	for i := range o.CAs {
		c := &o.CAs[i]
		imported := c.Spec.Source != nil && c.Spec.Source.Import != nil && c.Spec.Source.Import.SecretRef.Name == secret
		if slices.Contains(c.SecretNames(), secret) || imported {
			return fmt.Sprintf("the key of ClusterCA %q", c.Name)
		}
	}
	for i := range o.Keys {
		k := &o.Keys[i]
		own := than.Kind() == k.Kind() && than.GetName() == k.Name
		if slices.Contains(k.SecretNames(), secret) && !own || k.ImportSecretName() == secret {
			return fmt.Sprintf("the keys of ServiceAccountKey %q", k.Name)
		}
	}
	return ""
}

// unready says why an object is not as it should be, "" where it is.
func unready(o v1alpha1.Object) (text string, awaitsHost bool) {
	conditions, name := *o.StatusConditions(), fmt.Sprintf("%s %q", o.Kind(), o.GetName())
	ready := meta.FindStatusCondition(conditions, v1alpha1.ReadyCondition)
	stalled := meta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	switch {
	case ready == nil:
		return name + " has no status yet: is the operator running?", false
	case ready.Status != metav1.ConditionTrue:
		return fmt.Sprintf("%s is not Ready: %s: %s", name, ready.Reason, ready.Message), ready.Reason == v1alpha1.ReasonRequestMissing
	case stalled != nil && stalled.Status == metav1.ConditionTrue:
		return fmt.Sprintf("%s is Stalled, so what its spec says now is not what was issued: %s", name, stalled.Message), false
	case *o.ObservedGeneration() != o.GetGeneration():
		return name + " was changed, and the operator has not acted on it yet", false
	default:
		return "", false
	}
}

// Directory is where the files of a host lie, as its credentials agree.
func Directory(credentials []v1alpha1.NodeCredential) (string, error) {
	dir, from := "", ""
	for i := range credentials {
		c := &credentials[i]
		if c.Spec.Kubeconfig == nil || c.Spec.Kubeconfig.Directory == "" {
			continue
		}
		next := path.Clean(c.Spec.Kubeconfig.Directory)
		if dir != "" && dir != next {
			return "", fmt.Errorf("NodeCredentials %q and %q name different directories (%s and %s)", from, c.Name, dir, next)
		}
		dir, from = next, c.Name
	}
	if dir == "" {
		dir = hostfiles.DefaultBaseDir
	}
	return dir, nil
}
