package status

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// Words for states that are no condition's reason.
const (
	stateReady    = "Ready"
	stateExpired  = "Expired"
	stateUnknown  = "Unknown"
	stateOutdated = "Outdated"
	stateNotFound = "NotFound"
)

// subject is what all kinds have in common.
type subject struct {
	kind, namespace, name string
	generation, observed  int64
	conditions            []metav1.Condition
	certificate           v1alpha1.CertificateStatus
	rotating, imported    bool // a ClusterCA whose rotation is under way, or that only a person can rotate
}

func ofCA(c *v1alpha1.ClusterCA) subject {
	return subject{
		KindClusterCA, c.Namespace, c.Name, c.Generation, c.Status.ObservedGeneration, c.Status.Conditions, c.Status.Certificate,
		c.Status.Rotation.Phase != "", c.Spec.Source.IsImport(),
	}
}

func ofKey(k *v1alpha1.ServiceAccountKey) subject {
	return subject{
		kind: KindServiceAccountKey, namespace: k.Namespace, name: k.Name, generation: k.Generation,
		observed: k.Status.ObservedGeneration, conditions: k.Status.Conditions,
	}
}

func ofServer(c *v1alpha1.APIServerCertificate) subject {
	return subject{
		kind: KindAPIServerCertificate, namespace: c.Namespace, name: c.Name, generation: c.Generation,
		observed: c.Status.ObservedGeneration, conditions: c.Status.Conditions, certificate: c.Status.Certificate,
	}
}

func ofCredential(c *v1alpha1.NodeCredential) subject {
	return subject{
		kind: KindNodeCredential, namespace: c.Namespace, name: c.Name, generation: c.Generation,
		observed: c.Status.ObservedGeneration, conditions: c.Status.Conditions, certificate: c.Status.Certificate,
	}
}

// is returns a condition that is True.
func (s subject) is(kind string) *metav1.Condition {
	if c := meta.FindStatusCondition(s.conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
		return c
	}
	return nil
}

func (s subject) expired(now time.Time) bool {
	end := s.certificate.NotAfter.Time
	return !end.IsZero() && !now.Before(end)
}

// state says whether the object can be used now, and in one word what is wrong with it.
func (s subject) state(now time.Time) State {
	out := State{
		Ready: s.is(v1alpha1.ReadyCondition) != nil && !s.expired(now), State: stateReady,
		NotAfter: s.certificate.NotAfter.Time, RenewalTime: s.certificate.RenewalTime.Time,
		SerialNumber: s.certificate.SerialNumber, SecretName: s.certificate.SecretName,
	}
	ready := meta.FindStatusCondition(s.conditions, v1alpha1.ReadyCondition)
	stalled := s.is(v1alpha1.StalledCondition)
	switch {
	case s.expired(now):
		out.State = stateExpired
	case stalled != nil:
		out.State = stalled.Reason
	case ready == nil || ready.Status == metav1.ConditionUnknown:
		out.State = stateUnknown
	case ready.Status != metav1.ConditionTrue:
		out.State = ready.Reason
	case s.generation != s.observed:
		out.State = stateOutdated
	}
	return out
}

// problems are what is wrong with one object; the first that explains the others stands for them.
func (s subject) problems(now time.Time) []Problem {
	var out []Problem
	add := func(severity Severity, reason, message string) {
		out = append(out, Problem{severity, s.namespace, s.kind, s.name, reason, message})
	}
	ready := meta.FindStatusCondition(s.conditions, v1alpha1.ReadyCondition)
	stalled := s.is(v1alpha1.StalledCondition)
	end := s.certificate.NotAfter.Time
	if s.expired(now) {
		add(Error, stateExpired, fmt.Sprintf("the certificate expired %s, at %s", Until(now, end), date(now, end)))
	}
	switch {
	case stalled != nil:
		add(Error, v1alpha1.StalledCondition, stalled.Message)
	case ready == nil:
		add(Error, stateUnknown, "the operator has not reconciled it yet: is it running?")
	case ready.Status != metav1.ConditionTrue && !s.expired(now):
		add(Error, "NotReady", ready.Reason+": "+ready.Message)
	}
	if ready != nil && s.generation != s.observed {
		add(Error, stateOutdated, "the operator has not seen the present spec yet: is it running?")
	}
	if reason, severity, message := s.lateness(now); reason != "" {
		add(severity, reason, message)
	}
	for _, k := range []string{v1alpha1.RotationBlockedCondition, v1alpha1.RedeliveryRequiredCondition} {
		if c := s.is(k); c != nil {
			add(Error, k, c.Message)
		}
	}
	for _, k := range warnings {
		if c := s.is(k); c != nil {
			add(Warning, k, c.Message)
		}
	}
	if c := s.isFalse(v1alpha1.ServingCondition); c != nil {
		add(Warning, "NotServing", c.Message)
	}
	if c := s.isFalse(v1alpha1.TrustAcknowledgedCondition); c != nil {
		add(Warning, c.Reason, c.Message)
	}
	return out
}

// warnings are the conditions that a person should know of while they are True, and that break nothing.
var warnings = []string{
	v1alpha1.RotationPendingCondition, v1alpha1.WithdrawalPendingCondition, v1alpha1.KeyRemovalDueCondition, v1alpha1.ReconcilingCondition,
	v1alpha1.RemovalPendingCondition, v1alpha1.AgentCredentialExpiringCondition,
}

// isFalse is a condition that is False, nil for any other.
func (s subject) isFalse(kind string) *metav1.Condition {
	c := meta.FindStatusCondition(s.conditions, kind)
	if c == nil || c.Status != metav1.ConditionFalse {
		return nil
	}
	return c
}

// lateness says that a certificate was not renewed in time, or will not be. 'Overdue' begins when a quarter of the
// time between renewal and end has gone by; 'Expiring', for what ends with its CA and so is not renewed, with the
// last fifth of its life.
func (s subject) lateness(now time.Time) (reason string, severity Severity, message string) {
	start, renewal, end := s.certificate.NotBefore.Time, s.certificate.RenewalTime.Time, s.certificate.NotAfter.Time
	switch {
	case end.IsZero() || s.expired(now) || s.rotating || s.imported:
		return "", "", ""
	case !renewal.IsZero() && now.After(renewal.Add(end.Sub(renewal)/4)):
		return "Overdue", Error, fmt.Sprintf("the certificate was to be renewed %s and was not; it expires %s: is the operator running?",
			Until(now, renewal), Until(now, end))
	case renewal.IsZero() && !start.IsZero() && now.After(end.Add(-end.Sub(start)/5)):
		return "Expiring", Warning, fmt.Sprintf("the certificate ends %s together with its CA, and is re-issued only when the CA is rotated", Until(now, end))
	default:
		return "", "", ""
	}
}
