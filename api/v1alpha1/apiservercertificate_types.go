package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KeyReference names a ServiceAccountKey in the same namespace.
type KeyReference struct {
	// name of the ServiceAccountKey. It need not exist yet.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid name of an object: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`
}

// ProbeSpec says where to probe an API server.
type ProbeSpec struct {
	// addresses are host and port of every replica, never of a load balancer in front of them, as in '10.1.10.238:6443'
	// or '[2001:db8::7]:6443'. The operator connects to no loopback, link-local, metadata or multicast address, unless its flag
	// '--probe-allow' names it. Changing them re-issues nothing.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?|[[][0-9a-f:.]+[]]):[0-9]{1,5}$') && int(self.split(':')[size(self.split(':')) - 1]) >= 1 && int(self.split(':')[size(self.split(':')) - 1]) <= 65535",message="must be a host and a port from 1 to 65535, such as '10.1.10.238:6443' or '[2001:db8::7]:6443'",reason=FieldValueForbidden
	Addresses []string `json:"addresses,omitempty"`

	// interval is the time between two looks. Default: 30s. What is seen counts when two looks in a row agree.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be between 1 second and 24 hours, in hours, minutes and seconds, such as '30s'",reason=FieldValueForbidden
	Interval metav1.Duration `json:"interval,omitempty,omitzero"`
}

// APIServerCertificateSpec is what one kube-apiserver, or a set of replicas, serves.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || size(self.renewBefore) == 0 || size(self.validity) == 0 || !self.renewBefore.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || !self.validity.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || duration(self.renewBefore) < duration(self.validity)",message="renewBefore must be shorter than validity: otherwise the certificate would be due for renewal the moment it is issued",fieldPath=".renewBefore"
// +kubebuilder:validation:XValidation:rule="!isIP(self.hostName) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(self.hostName))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".hostName"
// +kubebuilder:validation:XValidation:rule="!has(self.ipAddresses) || self.ipAddresses.all(i, !isIP(i) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(i)))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".ipAddresses"
// +kubebuilder:validation:XValidation:rule="!isURL(self.endpoint) || !self.endpoint.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') || [has(self.tlsServerName) ? self.tlsServerName : url(self.endpoint).getHostname()].all(h, size(h) == 0 || h in [self.hostName, 'localhost', '127.0.0.1', '::1', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.' + self.clusterDomain] || (isIP(h) ? (has(self.ipAddresses) && self.ipAddresses.exists(i, isIP(i) && ip(i) == ip(h))) || self.serviceCIDRs.exists(c, isCIDR(c) && cidr(c).containsIP(h)) : has(self.dnsNames) && (h in self.dnsNames || (h.indexOf('.') > 0 && '*' + h.substring(h.indexOf('.')) in self.dnsNames))))",message="no SAN covers the host of endpoint, so every client would refuse the server: add the host to dnsNames or ipAddresses, change endpoint, or set tlsServerName to a name that is covered",fieldPath=".endpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.localEndpoint) || !isURL(self.localEndpoint) || !self.localEndpoint.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') || [url(self.localEndpoint).getHostname()].all(h, size(h) == 0 || h in [self.hostName, 'localhost', '127.0.0.1', '::1', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.' + self.clusterDomain] || (isIP(h) ? (has(self.ipAddresses) && self.ipAddresses.exists(i, isIP(i) && ip(i) == ip(h))) || self.serviceCIDRs.exists(c, isCIDR(c) && cidr(c).containsIP(h)) : has(self.dnsNames) && (h in self.dnsNames || (h.indexOf('.') > 0 && '*' + h.substring(h.indexOf('.')) in self.dnsNames))))",message="no SAN covers the host of localEndpoint, so every client would refuse the server: add the host to dnsNames or ipAddresses, or change localEndpoint",fieldPath=".localEndpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.requestHeaderCARef) || (has(self.clientCARefs) ? self.clientCARefs.all(r, r.name != self.requestHeaderCARef.name) : self.requestHeaderCARef.name != self.caRef.name)",message="must not be one of the CAs that sign ordinary clients: the API server takes any of its certificates for the aggregation layer speaking for any user",fieldPath=".requestHeaderCARef"
type APIServerCertificateSpec struct {
	// caRef names the ClusterCA that signs the serving certificate. Changing it re-issues the certificate.
	// +required
	CARef CAReference `json:"caRef,omitzero"`

	// clientCARefs name the ClusterCAs whose clients this API server authenticates. Default: caRef alone.
	// Their bundles are published as key 'client-ca.crt' of the Secret. Changing them re-issues nothing.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	ClientCARefs []CAReference `json:"clientCARefs,omitempty"`

	// requestHeaderCARef names the ClusterCA of the front proxy, by which the API server knows its aggregation layer
	// (`--requestheader-client-ca-file`). Its bundle is published as key 'requestheader-ca.crt' of the Secret. It must not be
	// one of clientCARefs: its certificates speak for any user. Changing it re-issues nothing.
	// +optional
	RequestHeaderCARef *CAReference `json:"requestHeaderCARef,omitempty"`

	// hostName is the API server's host: the certificate's common name and a DNS SAN, or an IP SAN where it is an IPv4 address.
	// Changing it re-issues the certificate.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!(self in ['aggregator', 'front-proxy-client', 'kube-apiserver-etcd-client', 'kube-apiserver-kubelet-client', 'kube-etcd-healthcheck-client', 'kubelet-bootstrap', 'kubernetes-admin', 'kubernetes-super-admin'])",message="must not be the name of an identity that something in a cluster trusts, such as 'front-proxy-client': the certificate would be that identity",reason=FieldValueForbidden
	HostName string `json:"hostName,omitempty"`

	// clusterDomain is the cluster's DNS domain. With it the SANs kubernetes, kubernetes.default,
	// kubernetes.default.svc, kubernetes.default.svc.<clusterDomain> and localhost are always present.
	// Default: cluster.local. Changing it re-issues the certificate.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS domain such as 'cluster.local'",reason=FieldValueForbidden
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// serviceCIDRs are the service networks, as in `--service-cluster-ip-range`: one, or one of each IP
	// family for dual-stack. The first address of each is an IP SAN. Default: 10.96.0.0/12.
	// Changing them re-issues the certificate.
	// +optional
	// +listType=atomic
	// +kubebuilder:default={"10.96.0.0/12"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be an IPv4 or IPv6 network such as '10.96.0.0/12' or 'fd00:10:96::/112'",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="!isCIDR(self) || cidr(self).prefixLength() <= (cidr(self).ip().family() == 4 ? 29 : 125)",message="must hold at least 8 addresses: the prefix length must be /29 or shorter for IPv4, /125 or shorter for IPv6",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="size(self) < 2 || !isCIDR(self[0]) || !isCIDR(self[1]) || cidr(self[0]).ip().family() != cidr(self[1]).ip().family()",message="must not hold two networks of the same IP family",reason=FieldValueForbidden
	ServiceCIDRs []string `json:"serviceCIDRs,omitempty"`

	// dnsNames are further DNS SANs: lower case, A-labels for internationalised names, '*.' as the
	// leftmost label for a wildcard, below which no other host then gets a certificate to serve with, from the same root. Their order does
	// not matter. Changing them re-issues the certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) && !self.matches('[.][0-9]+$')",message="must be a DNS name: an IP address belongs in ipAddresses",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) || self.matches('[.][0-9]+$') || self.matches('^(([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.'; write an internationalised name as its A-label ('xn--...'); a wildcard is '*.' and a name",reason=FieldValueForbidden
	DNSNames []string `json:"dnsNames,omitempty"`

	// ipAddresses are further IP SANs: every address by which the API server is reached. 127.0.0.1 and
	// ::1 are always present. Changing them re-issues the certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length",reason=FieldValueForbidden
	IPAddresses []string `json:"ipAddresses,omitempty"`

	// endpoint is the https URL that kubeconfigs point to, such as https://k8s-master:6443. It may have a path, below which the API is, as
	// Rancher and kcp have it. One of the SANs must cover its host, or tlsServerName. Changing it re-renders the kubeconfigs and re-issues
	// nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	Endpoint string `json:"endpoint,omitempty"`

	// localEndpoint is the https URL of the API server on this same host, such as https://10.1.10.238:6443, where endpoint is that of a load balancer.
	// The kubeconfigs of NodeCredentials for the same hostName with roles 'ControllerManager', 'Scheduler' and 'Kubelet' that name this object point to
	// it in place of endpoint. One of the SANs must cover its host; tlsServerName says nothing of it. Absent: endpoint. Changing it re-renders those
	// kubeconfigs and re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	LocalEndpoint string `json:"localEndpoint,omitempty"`

	// tlsServerName is the name or address by which kubeconfigs verify the server's certificate, and which they ask for in the handshake
	// (`tls-server-name`). One of the SANs must cover it. Absent: the host of endpoint. It is for endpoints whose host no SAN has, such as
	// an address behind NAT. Changing it re-renders the kubeconfigs and re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isIP(self) || self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')",message="must be a lower-case DNS name without a wildcard, or an IP address",reason=FieldValueForbidden
	TLSServerName string `json:"tlsServerName,omitempty"`

	// validity is how long the certificate is valid. Default: 8760h (a year). A certificate never outlives
	// the CA that signs it. Changing it re-issues the certificate at once.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity metav1.Duration `json:"validity,omitempty,omitzero"`

	// renewBefore is how long before its end the certificate is renewed. Default: a third of validity.
	// Changing it re-issues the certificate only if that makes it due.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h'))",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// renewal renews the certificate before its time.
	// +optional
	Renewal RenewalSpec `json:"renewal,omitempty,omitzero"`

	// privateKey is the kind of key to generate. Changing it issues a new key and certificate.
	// +optional
	// +kubebuilder:default={algorithm: ECDSA, size: 256}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// secretName is the kubernetes.io/tls Secret to write: tls.crt, tls.key, ca.crt (verifies this
	// certificate) and client-ca.crt (verifies its clients). Default: '<name>-tls'.
	// Changing it issues a new certificate there and leaves the old Secret alone.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// secretTemplate says which labels and annotations the Secrets bear that are made for this object. Changing it re-issues nothing.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`

	// serviceAccountKeyRef names the ServiceAccountKey whose keys this API server signs service account tokens with, and accepts. All
	// API servers of a cluster name the same one. Absent: none is delivered with the certificate. Changing it re-issues nothing; tokens that only the
	// former one's keys verify end when the API server restarts.
	// +optional
	ServiceAccountKeyRef *KeyReference `json:"serviceAccountKeyRef,omitempty"`

	// probe lets the operator observe, by a TLS handshake, what the API server really serves and trusts. The
	// rotation of a CA then waits for that too. Absent: it goes by delivery alone. Changing it re-issues nothing.
	// +optional
	Probe *ProbeSpec `json:"probe,omitempty"`

	// delivery says how what is issued reaches its consumer. The rotation of a CA waits for that.
	// +optional
	// +kubebuilder:default={mode: Mounted, propagationDelay: "10m"}
	Delivery DeliverySpec `json:"delivery,omitempty,omitzero"`
}

// APIServerCertificateStatus is what the operator last observed of the APIServerCertificate.
// Nothing is decided from it: losing it loses nothing.
type APIServerCertificateStatus struct {
	// conditions are Ready always, Reconciling and Stalled only while True, and the others where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// certificate is the certificate in use.
	// +optional
	Certificate CertificateStatus `json:"certificate,omitempty,omitzero"`

	// revision counts the certificates issued for this object.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Revision int32 `json:"revision,omitempty"`

	// agentVersion is the version of clusterpki that the agent of the host is of; absent where none has reported it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AgentVersion string `json:"agentVersion,omitempty"`
}

// APIServerCertificateList is a list of APIServerCertificates.
// +kubebuilder:object:root=true
type APIServerCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the APIServerCertificates.
	Items []APIServerCertificate `json:"items"`
}

// APIServerCertificate is the serving certificate of one kube-apiserver, or of a set of replicas.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=apiservercertificates,shortName=asc,categories=pki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.certificate.secretName`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoint`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.caRef.name`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.certificate.notAfter`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="metadata.name must be 200 characters or fewer, so that the names of the Secrets made for it fit",fieldPath=".metadata"
type APIServerCertificate struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired state.
	// +required
	Spec APIServerCertificateSpec `json:"spec,omitzero"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status APIServerCertificateStatus `json:"status,omitempty,omitzero"`
}
