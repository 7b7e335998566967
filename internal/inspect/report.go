// Package inspect shows in depth one object, one Secret or some files: what the certificates say, whether keys and
// chains fit, what has arrived, and what to do next. It reads (gather.go, files.go), judges (build.go and the others:
// values and a time in, a report out), and writes it for people (text.go). Of a private key it tells the kind, and
// whether it fits; its report holds no key.
package inspect

import (
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/status"
)

// Report is what `clusterpki inspect -o json` prints. Fields are added to it, and none is renamed.
type Report struct {
	status.Header
	// Time is when it was looked at; everything else is as of then.
	Time time.Time `json:"time"`
	// Object is absent for a Secret and for files.
	Object *Object `json:"object,omitempty"`
	// Sources are the Secrets, ConfigMaps and files that were read.
	Sources []Source `json:"sources"`
	// Problems are what is wrong, the errors before the warnings; empty when all is well.
	Problems []status.Problem `json:"problems"`
}

// Errors counts the problems that are errors.
func (r Report) Errors() int { return status.Report{Problems: r.Problems}.Errors() }

// Object is one of ours, as its spec and its status say.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	status.State
	// Host and Identity are absent for a ClusterCA and a ServiceAccountKey.
	Host     string `json:"host,omitempty"`
	Identity string `json:"identity,omitempty"`
	Role     string `json:"role,omitempty"`
	// CA is the parent CA, absent for a root; IssuerGeneration is the generation that did, for a ClusterCA
	// its own active one.
	CA                string    `json:"ca,omitempty"`
	IssuerGeneration  int32     `json:"issuerGeneration,omitempty"`
	OldGeneration     bool      `json:"oldGeneration,omitempty"`
	NotBefore         time.Time `json:"notBefore,omitzero"`
	SHA256Fingerprint string    `json:"sha256Fingerprint,omitempty"`
	// Generations, Rotation, LastRotation and Trust are of a ClusterCA, Pending of what its rotation waits for.
	Generations  []v1alpha1.GenerationStatus  `json:"generations,omitempty"`
	Rotation     *status.Rotation             `json:"rotation,omitempty"`
	LastRotation *v1alpha1.LastRotationStatus `json:"lastRotation,omitempty"`
	Trust        v1alpha1.TrustStatus         `json:"trust,omitzero"`
	Pending      bool                         `json:"pending,omitempty"`
	// ServiceAccountKey is what a ServiceAccountKey is besides, and ServiceAccountKeyName is the one that an APIServerCertificate names.
	ServiceAccountKey     *status.ServiceAccountKey `json:"serviceAccountKey,omitempty"`
	ServiceAccountKeyName string                    `json:"serviceAccountKeyName,omitempty"`
	Conditions            []Condition               `json:"conditions,omitempty"`
	Delivery              *Delivery                 `json:"delivery,omitempty"`
	Events                []Event                   `json:"events,omitempty"`
	// Unread are what was not read, and why.
	Unread []string `json:"unread,omitempty"`
}

// Condition is one of the object's.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Outdated says that it is of an older spec.
	Outdated bool `json:"outdated,omitempty"`
	// Next is what to do about it; absent where nothing is to be done.
	Next string `json:"next,omitempty"`
}

// Delivery is how what is issued reaches its consumer, and what is known to have arrived.
type Delivery struct {
	Mode string `json:"mode"`
	// PropagationDelay is, for mode 'Mounted', how long after it was written it is assumed to be in use, and AcceptAssumed
	// whether that is enough for the withdrawal of a CA.
	PropagationDelay string `json:"propagationDelay,omitempty"`
	AcceptAssumed    string `json:"acceptAssumed,omitempty"`
	// Issued is what the Secrets hold now; absent where they were not read.
	Issued *ack.State `json:"issued,omitempty"`
	// Acknowledged is, for mode 'Manual', what delivery.acknowledged says.
	Acknowledged *v1alpha1.AcknowledgedDelivery `json:"acknowledged,omitempty"`
	// Agent is, for mode 'Agent', what the agent of the host says.
	Agent *Agent `json:"agent,omitempty"`
	// InUse says whether all that is issued is known to be in use; absent where that is not known.
	InUse *bool `json:"inUse,omitempty"`
}

// Agent is what the agent of a host says in its Lease.
type Agent struct {
	ack.Report
	RenewTime time.Time `json:"renewTime,omitzero"`
	// LeaseExpired says that what it says does not count: it has not renewed its Lease, or is another host's.
	LeaseExpired bool `json:"leaseExpired,omitempty"`
	// Invalid says that what it says does not count: it is not signed by the key of a certificate that was issued for the object.
	Invalid bool `json:"invalid,omitempty"`
}

// Event is one of the last events of the object.
type Event struct {
	Time    time.Time `json:"time,omitzero"`
	Type    string    `json:"type"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int32     `json:"count,omitempty"`
}

// Source is one Secret or ConfigMap, or all the files.
type Source struct {
	// Name is as in 'Secret/k8s-tls', or 'files'.
	Name string `json:"name"`
	// Owner is the object that it was made for, as in 'NodeCredential/k8s-node1-kubelet'.
	Owner string `json:"owner,omitempty"`
	// Unread is why it could not be read.
	Unread string `json:"unread,omitempty"`
	Items  []Item `json:"items,omitempty"`
}

// Item is one key of a Secret or ConfigMap, or one of the files.
type Item struct {
	// Name is the key, or the path of the file.
	Name string `json:"name"`
	// Certificates are in the order in which they stand there.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Chain is where the first of them leads.
	Chain       *Chain      `json:"chain,omitempty"`
	PrivateKeys []Key       `json:"privateKeys,omitempty"`
	PublicKeys  []Key       `json:"publicKeys,omitempty"`
	Requests    []Request   `json:"requests,omitempty"`
	Kubeconfig  *Kubeconfig `json:"kubeconfig,omitempty"`
	// Manifests are the objects that a file is the manifests of, as in 'Secret/k8s-tls'; nothing else of it was read.
	Manifests []string `json:"manifests,omitempty"`
	// Other says that it is something else, which is not shown.
	Other bool `json:"other,omitempty"`
	// Damage is what of it cannot be read.
	Damage string `json:"damage,omitempty"`
}

// Certificate is what a certificate says.
type Certificate struct {
	Subject      string `json:"subject"`
	Issuer       string `json:"issuer"`
	SerialNumber string `json:"serialNumber"`
	// SHA256Fingerprint is that of the DER, in lower-case hexadecimal.
	SHA256Fingerprint  string    `json:"sha256Fingerprint"`
	NotBefore          time.Time `json:"notBefore"`
	NotAfter           time.Time `json:"notAfter"`
	DNSNames           []string  `json:"dnsNames,omitempty"`
	IPAddresses        []string  `json:"ipAddresses,omitempty"`
	OtherNames         []string  `json:"otherNames,omitempty"` // URIs and mail addresses
	CA                 bool      `json:"ca,omitempty"`
	PathLength         *int      `json:"pathLength,omitempty"`
	KeyUsages          []string  `json:"keyUsages,omitempty"`         // as RFC 5280 writes them
	ExtendedKeyUsages  []string  `json:"extendedKeyUsages,omitempty"` // the same, or numbers
	Key                string    `json:"key"`                         // as in 'ECDSA-256'
	SignatureAlgorithm string    `json:"signatureAlgorithm"`
	SelfSigned         bool      `json:"selfSigned,omitempty"`
	SubjectKeyID       string    `json:"subjectKeyId,omitempty"`   // in lower-case hexadecimal
	AuthorityKeyID     string    `json:"authorityKeyId,omitempty"` // the same
	// Generation is that of the ClusterCA whose certificate this is; absent where the status names none.
	Generation int32 `json:"generation,omitempty"`
}

// Chain is where a certificate leads.
type Chain struct {
	// Valid says whether it leads to a trusted root now.
	Valid bool `json:"valid"`
	// Root is the subject of that root.
	Root string `json:"root,omitempty"`
	// TrustedBy is where the trusted roots are from, as in 'ConfigMap/k8s-trust'.
	TrustedBy string `json:"trustedBy"`
	// CA and Generation are the ClusterCA and its generation that signed it; absent where they are not known.
	CA         string `json:"ca,omitempty"`
	Generation int32  `json:"generation,omitempty"`
	// Problem is why it is not valid.
	Problem string `json:"problem,omitempty"`
}

// Key says of which kind a key is, and what it fits. The key itself is never part of a report.
type Key struct {
	// Kind is as in 'ECDSA-256'; absent where it cannot be read.
	Kind string `json:"kind,omitempty"`
	// Fits are the items of the same source whose certificate, request or public key is of this key.
	Fits []string `json:"fits,omitempty"`
	// Mismatch says that there are such items, and that it fits none.
	Mismatch bool `json:"mismatch,omitempty"`
	// Problem is why it cannot be read.
	Problem string `json:"problem,omitempty"`
}

// Request is a certificate signing request.
type Request struct {
	Subject     string   `json:"subject"`
	DNSNames    []string `json:"dnsNames,omitempty"`
	IPAddresses []string `json:"ipAddresses,omitempty"`
	Key         string   `json:"key"`
}

// Kubeconfig is what a kubeconfig says, without its secrets.
type Kubeconfig struct {
	CurrentContext string    `json:"currentContext,omitempty"`
	Contexts       []Context `json:"contexts,omitempty"`
	Clusters       []Cluster `json:"clusters,omitempty"`
	Users          []User    `json:"users,omitempty"`
}

// Context is one of a kubeconfig.
type Context struct {
	Name      string `json:"name"`
	Cluster   string `json:"cluster"`
	User      string `json:"user"`
	Namespace string `json:"namespace,omitempty"`
}

// Cluster is one of a kubeconfig.
type Cluster struct {
	Name   string `json:"name"`
	Server string `json:"server"` // without a password
	// CAFile is the file that it names in place of Certificates.
	CAFile       string        `json:"caFile,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	Insecure     bool          `json:"insecure,omitempty"`
	Damage       string        `json:"damage,omitempty"`
}

// User is one of a kubeconfig.
type User struct {
	Name string `json:"name"`
	// CertificateFile and KeyFile are the files that it names in place of Certificates and Key.
	CertificateFile string        `json:"certificateFile,omitempty"`
	KeyFile         string        `json:"keyFile,omitempty"`
	Certificates    []Certificate `json:"certificates,omitempty"`
	Key             *Key          `json:"key,omitempty"`
	// Other are its other ways to say who it is, such as 'token' or 'exec'; what they are is not shown.
	Other  []string `json:"other,omitempty"`
	Damage string   `json:"damage,omitempty"`
}
