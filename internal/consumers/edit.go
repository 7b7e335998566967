package consumers

import (
	"fmt"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Approval is what approves the withdrawal of a rotation: the ID of that, at a ClusterCA.
type Approval struct{ CA, ID string }

// Edit is what a person can write, or do, so that a rotation that waits for a consumer goes on; "" where nothing but time
// is missing.
func Edit(c plan.Consumer, a Approval) string {
	object := fmt.Sprintf("%s %q", c.Kind, c.Name)
	switch c.Reason {
	case v1alpha1.ReasonLeaseExpired:
		return fmt.Sprintf("start the agent on host %q; to go on without this host, delete %s", c.Host, object)
	case v1alpha1.ReasonAgentProblem:
		return fmt.Sprintf("mend what the agent on host %q reports: see condition TrustAcknowledged of %s", c.Host, object)
	case v1alpha1.PendingNotAcknowledged:
		return fmt.Sprintf("once it is in use, run 'clusterpki acknowledge %s/%s' with the files of the host: it writes "+
			"spec.delivery.acknowledged", c.Kind, c.Name)
	case v1alpha1.ReasonAssumed:
		return fmt.Sprintf("once it uses what its Secrets hold, set spec.rotation.approved.withdrawal of ClusterCA %q to %q, or "+
			"spec.delivery.acceptAssumed of %s to 'Always'", a.CA, a.ID, acceptedBy(c, a.CA))
	case v1alpha1.PendingOrphaned:
		return fmt.Sprintf("delete %s, if nothing uses it any more", object)
	case v1alpha1.PendingUnknownDelivery:
		return fmt.Sprintf("set spec.delivery.mode of %s to 'Mounted', 'Agent' or 'Manual'", object)
	case v1alpha1.ReasonUnreachable:
		return fmt.Sprintf("make every address of spec.probe of %s reachable from the operator, or take it out there", object)
	case v1alpha1.ReasonWrongCertificate, v1alpha1.ReasonMissingClientCA:
		return fmt.Sprintf("bring the Secret of %s to the API server: see its condition Serving", object)
	default:
		return ""
	}
}

// acceptedBy is the object whose delivery a consumer is subject to: the copy of a CA's key is a Secret of the ClusterCA.
func acceptedBy(c plan.Consumer, ca string) string {
	if c.Kind == kindSecret {
		return fmt.Sprintf("ClusterCA %q", ca)
	}
	return fmt.Sprintf("%s %q", c.Kind, c.Name)
}
