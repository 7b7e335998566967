package cluster

import (
	"k8s.io/apimachinery/pkg/util/version"

	"clusterpki.io/operator/api/v1alpha1"
)

// AgentVersion is the version of the agent that delivers an object, "" where none has reported it.
func AgentVersion(o v1alpha1.Object) string {
	switch o := o.(type) {
	case *v1alpha1.NodeCredential:
		return o.Status.AgentVersion
	case *v1alpha1.APIServerCertificate:
		return o.Status.AgentVersion
	default:
		return ""
	}
}

// OlderVersion is the older of two versions, of which "" does not count. A build that is no release is older than any.
func OlderVersion(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	left, err := version.ParseSemantic(a)
	if err != nil {
		return a
	}
	right, err := version.ParseSemantic(b)
	if err != nil || right.LessThan(left) {
		return b
	}
	return a
}
