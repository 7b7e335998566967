// Package status describes ClusterPKIs, ClusterCAs and all that they issued, and service account keys: objects and a time in, a report out, and the report
// as a text for people. It decides from what the objects' own status says, and reads nothing.
package status

import (
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

// Objects are what a report is made from: all of one namespace, or of several.
type Objects struct {
	Clusters    []v1alpha1.ClusterPKI
	CAs         []v1alpha1.ClusterCA
	Keys        []v1alpha1.ServiceAccountKey
	Servers     []v1alpha1.APIServerCertificate
	Credentials []v1alpha1.NodeCredential
}

// Header says what the output of a command for programs is.
type Header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// HeaderOf is the header of a kind of output. Within the version, fields are added and none is renamed.
func HeaderOf(kind string) Header { return Header{"cli.clusterpki.io/v1alpha1", kind} }

// Report is what `clusterpki status -o json` prints. Fields are added to it, and none is renamed.
type Report struct {
	Header
	// Time is when the objects were looked at; everything else is as of then.
	Time time.Time `json:"time"`
	// ClusterPKIs are, by namespace and name, those that there are; none in a report of one CA.
	ClusterPKIs []Cluster `json:"clusterPKIs"`
	// ClusterCAs are those that no other one of the report signs, by namespace and name.
	ClusterCAs []Authority `json:"clusterCAs"`
	// ServiceAccountKeys are, by namespace and name, those that the API servers of the report name; all where the report is of all CAs.
	ServiceAccountKeys []ServiceAccountKey `json:"serviceAccountKeys"`
	// Problems are what is wrong, the errors before the warnings; empty when all is well.
	Problems []Problem `json:"problems"`
}

// State says whether what an object publishes can be used.
type State struct {
	// Ready says whether it can be used now.
	Ready bool `json:"ready"`
	// State is 'Ready', or in one word what is wrong: the reason of condition Ready or Stalled, 'Expired', 'Unknown'
	// where there is no condition yet, 'Outdated' where the operator has not seen the present spec, or 'NotFound'.
	State string `json:"state"`
	// NotAfter is when the certificate expires; absent where there is none.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// RenewalTime is when the operator renews it, or rotates a CA; absent where it does not.
	RenewalTime time.Time `json:"renewalTime,omitzero"`
	// SerialNumber is that of the certificate, in hexadecimal.
	SerialNumber string `json:"serialNumber,omitempty"`
	// SecretName is the Secret of the certificate.
	SecretName string `json:"secretName,omitempty"`
}

// Authority is one ClusterCA with what hangs below it.
type Authority struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State
	// Parent is the parent CA; absent for a root.
	Parent string `json:"parent,omitempty"`
	// Generation is the active one.
	Generation int32 `json:"generation,omitempty"`
	// Generations are the keys that there are.
	Generations []v1alpha1.GenerationStatus `json:"generations,omitempty"`
	// Rotation is the one that is under way; absent while there is none.
	Rotation *Rotation `json:"rotation,omitempty"`
	// LastRotation is the one that ended last; absent where there was none.
	LastRotation *v1alpha1.LastRotationStatus `json:"lastRotation,omitempty"`
	// Trust is the published bundle.
	Trust v1alpha1.TrustStatus `json:"trust,omitzero"`
	// ClusterCAs are those that this one signs.
	ClusterCAs []Authority `json:"clusterCAs,omitempty"`
	// Certificates are what it issued, or is to issue.
	Certificates []Certificate `json:"certificates,omitempty"`
	// TrustedBy are those that trust it without a certificate of it.
	TrustedBy []RelyingParty `json:"trustedBy,omitempty"`
}

// Rotation is the rotation of a CA as its status has it, with what follows from that.
type Rotation struct {
	v1alpha1.RotationStatus
	// Blocked says that the phase has waited for longer than spec.rotation.progressDeadline.
	Blocked bool `json:"blocked,omitempty"`
	// ExpectedPhaseTime is when the phase is expected to end, ExpectedTime when the whole is; absent where that is not
	// known, and ExpectedUnknown says why.
	ExpectedPhaseTime time.Time `json:"expectedPhaseTime,omitzero"`
	ExpectedTime      time.Time `json:"expectedTime,omitzero"`
	ExpectedUnknown   string    `json:"expectedUnknown,omitempty"`
	// Timeline is the same for people.
	Timeline timeline.Rotation `json:"-"`
}

// Certificate is one APIServerCertificate or NodeCredential.
type Certificate struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	State
	// Host is spec.hostName.
	Host string `json:"host"`
	// Identity is the common name.
	Identity string `json:"identity"`
	// IssuerGeneration is the generation of the CA that signed it.
	IssuerGeneration int32 `json:"issuerGeneration,omitempty"`
	// OldGeneration says that another generation is active.
	OldGeneration bool `json:"oldGeneration,omitempty"`
	// Pending says that the rotation of the CA waits for it, as far as its status names it.
	Pending bool `json:"pending,omitempty"`
}

// RelyingParty is an object that trusts a CA and has no certificate of it.
type RelyingParty struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// By is how: 'clientCARefs', 'requestHeaderCARef' or 'kubeconfig'.
	By string `json:"by"`
	// Through is the APIServerCertificate that a kubeconfig is for.
	Through string `json:"through,omitempty"`
}

// Severity says how bad a problem is.
type Severity string

// The severities.
const (
	// Error is for what does not work, or stops working unless somebody does something.
	Error Severity = "error"
	// Warning is for what works and needs a look.
	Warning Severity = "warning"
)

// Problem is one thing that is wrong with one object.
type Problem struct {
	Severity  Severity `json:"severity"`
	Namespace string   `json:"namespace"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	// Reason is one word: a condition's type for 'Stalled', 'RotationBlocked' and their like, else as State.
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Errors counts the problems that are errors.
func (r Report) Errors() int {
	n := 0
	for _, p := range r.Problems {
		if p.Severity == Error {
			n++
		}
	}
	return n
}

// The kinds.
const (
	KindClusterPKI           = v1alpha1.KindClusterPKI
	KindClusterCA            = v1alpha1.KindClusterCA
	KindServiceAccountKey    = v1alpha1.KindServiceAccountKey
	KindAPIServerCertificate = v1alpha1.KindAPIServerCertificate
	KindNodeCredential       = v1alpha1.KindNodeCredential
)
