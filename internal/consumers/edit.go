package consumers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fmt"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/shell"
)

// Approval is what approves the withdrawal of a rotation: the ID of that, at a ClusterCA.
type Approval struct {
	CA, ID string
	// Cluster is the ClusterPKI that made the CA; "" for none. What it has made is edited there.
	Cluster string
}

// Cluster is the ClusterPKI that an object says to be made by, by a label that anybody may write; "" for none.
func Cluster(o metav1.Object) string { return o.GetLabels()[v1alpha1.ClusterLabel] }

// Edit is what a person can write, or do, so that a rotation that waits for a consumer goes on; "" where nothing but time
// is missing.
func Edit(c plan.Consumer, a Approval) string {
	object := fmt.Sprintf("%s %q", c.Kind, c.Name)
	switch c.Reason {
	case v1alpha1.PendingNotAcknowledged:
		kind, name := deliveredBy(c, a.CA)
		return fmt.Sprintf("once it is in use, run 'clusterpki acknowledge %s/%s' with the files of the host: it writes "+
			"spec.delivery.acknowledged", kind, name)
	case v1alpha1.ReasonAssumed:
		kind, name := deliveredBy(c, a.CA)
		accept := fmt.Sprintf("spec.delivery.acceptAssumed of %s %q to 'Always'", kind, name)
		if a.Cluster != "" {
			accept = fmt.Sprintf("delivery.acceptAssumed of its host in ClusterPKI %q to 'Always'", a.Cluster)
		}
		return fmt.Sprintf("once it uses what its Secrets hold, set spec.rotation.approved.withdrawal of ClusterCA %q to %s, or %s",
			a.CA, shell.Quote(a.ID), accept)
	case v1alpha1.PendingOrphaned:
		return fmt.Sprintf("delete %s, if nothing uses it any more", object)
	case v1alpha1.ReasonUnreachable:
		return fmt.Sprintf("make every address of spec.probe of %s reachable from the operator, or take it out there", object)
	case v1alpha1.ReasonWrongCertificate, v1alpha1.ReasonMissingClientCA:
		return fmt.Sprintf("bring the Secret of %s to the API server: see its condition Serving", object)
	case v1alpha1.ReasonPolicyDenied:
		if a.Cluster != "" {
			return fmt.Sprintf("change the host, or the policy of its CA, in ClusterPKI %q, as condition Stalled of %s says", a.Cluster, object)
		}
		return fmt.Sprintf("change the spec of %s, or spec.policy of its ClusterCA, as its condition Stalled says; to go on without it, delete it", object)
	case "", v1alpha1.PendingPropagating, v1alpha1.PendingAwaitingWave, v1alpha1.PendingSettling, v1alpha1.PendingNotIssued,
		v1alpha1.PendingNotRotated, v1alpha1.ReasonNotInUse, v1alpha1.ReasonAwaitingTurn:
		return ""
	default:
		return editOf(c.Kind, c.Name, c.Host, c.Reason, a.Cluster)
	}
}

// editOf is what a person can do about what keeps an object's agent, or the object, from going on.
func editOf(kind, name, host, reason, cluster string) string {
	object := fmt.Sprintf("%s %q", kind, name)
	switch reason {
	case v1alpha1.ReasonLeaseExpired:
		without := "delete " + object
		if cluster != "" {
			without = fmt.Sprintf("take it out of the lists of ClusterPKI %q", cluster)
		}
		return fmt.Sprintf("start the agent on host %q; to go on without this host, %s", host, without)
	case v1alpha1.ReasonAcknowledgmentInvalid:
		return fmt.Sprintf("see that the agent on host %q alone writes the Lease of %s: what stands there is not signed by the key of its certificate",
			host, object)
	case v1alpha1.ReasonAgentProblem:
		return fmt.Sprintf("mend what the agent on host %q reports: see condition TrustAcknowledged of %s", host, object)
	case v1alpha1.PendingUnknownDelivery:
		return fmt.Sprintf("set spec.delivery.mode of %s to 'Mounted', 'Agent' or 'Manual'", object)
	default: // that of its condition Stalled
		return fmt.Sprintf("mend what condition Stalled of %s says", object)
	}
}

// deliveredBy is the object whose delivery a consumer is subject to: the copy of a CA's key is a Secret of the ClusterCA.
func deliveredBy(c plan.Consumer, ca string) (kind, name string) {
	if c.Kind == kindSecret {
		return v1alpha1.KindClusterCA, ca
	}
	return c.Kind, c.Name
}
