package cluster

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

// What a member of etcd is to its clients, and to the other members.
const (
	etcdServer = "EtcdServer"
	etcdPeer   = "EtcdPeer"
)

// etcdRoles are all that etcd's CA signs.
var etcdRoles = []v1alpha1.PolicyRole{etcdServer, etcdPeer, "EtcdClient", "EtcdHealthcheckClient"}

// authorities makes the CAs. They are three, as kubeadm has them: the API server takes a certificate of the front proxy's CA for the aggregation layer
// that speaks for any user, and etcd one of its CA for a client that may read every Secret.
func (e *expansion) authorities() {
	of := e.Spec.CertificateAuthorities
	main := e.authority(CAName(e.Name), of.Cluster, nil)
	main.Spec.Policy = e.sharing(main.Spec.Policy)
	e.add(main, "")
	if e.etcdMode() != v1alpha1.EtcdNone {
		e.add(e.authority(EtcdCAName(e.Name), of.Etcd, &v1alpha1.CAPolicy{Roles: slices.Clone(etcdRoles)}), "")
	}
	e.add(e.authority(FrontProxyCAName(e.Name), of.FrontProxy, &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"FrontProxyClient"}}), "")
}

// authority is a CA, with a policy where the spec has none for it.
func (e *expansion) authority(name string, of v1alpha1.ClusterPKICA, policy *v1alpha1.CAPolicy) *v1alpha1.ClusterCA {
	ca := &v1alpha1.ClusterCA{}
	ca.TypeMeta, ca.ObjectMeta = e.named(v1alpha1.KindClusterCA, name)
	ca.Spec = v1alpha1.ClusterCASpec{
		Source: of.Source.DeepCopy(), Policy: of.Policy.DeepCopy(), SecretName: of.SecretName, SecretTemplate: e.Spec.SecretTemplate.DeepCopy(),
	}
	if ca.Spec.Policy == nil {
		ca.Spec.Policy = policy
	}
	if of.Validity != nil {
		ca.Spec.Validity = *of.Validity
	}
	if of.PrivateKey != nil {
		ca.Spec.PrivateKey = *of.PrivateKey
	}
	if of.Rotation != nil {
		ca.Spec.Rotation = *of.Rotation.DeepCopy()
	}
	ca.Spec.Rotation.MaxUnavailable = stricter(ca.Spec.Rotation.MaxUnavailable, e.Spec.Rotation.MaxUnavailable)
	return ca
}

// stricter is the one of two limits that lets fewer go, where both say something: a number is compared with a percentage as if there were a hundred.
func stricter(own, all *intstr.IntOrString) *intstr.IntOrString {
	if own == nil || all == nil {
		return cmp.Or(own, all)
	}
	of := func(v *intstr.IntOrString) int {
		n, err := intstr.GetScaledValueFromIntOrPercent(v, 100, false)
		if err != nil { // admission lets no other text in
			return 0
		}
		return n
	}
	if of(all) < of(own) {
		return all
	}
	return own
}

// sharing is a policy under which the kubelets of control plane hosts serve with the names of their own hosts.
func (e *expansion) sharing(p *v1alpha1.CAPolicy) *v1alpha1.CAPolicy {
	if !e.kubelets() || !slices.Contains(e.nodeRoles(), "KubeletServing") {
		return p
	}
	if p == nil {
		p = &v1alpha1.CAPolicy{}
	}
	for _, h := range e.controlPlane {
		p.SharedHosts = append(p.SharedHosts, h.Name)
	}
	p.SharedHosts = unique(p.SharedHosts)
	return p
}

// serviceAccountKey makes the key of all API servers.
func (e *expansion) serviceAccountKey() {
	of := e.Spec.ServiceAccountKey
	k := &v1alpha1.ServiceAccountKey{}
	k.TypeMeta, k.ObjectMeta = e.named(v1alpha1.KindServiceAccountKey, KeyName(e.Name))
	k.Spec = v1alpha1.ServiceAccountKeySpec{
		RotateEvery: of.RotateEvery, Source: of.Source.DeepCopy(), Rotation: of.Rotation, AcceptTokenLoss: slices.Clone(of.AcceptTokenLoss),
		SecretName: KeySecretName(e.Name), SecretTemplate: e.Spec.SecretTemplate.DeepCopy(),
	}
	if of.RetainOldKeyFor != nil {
		k.Spec.RetainOldKeyFor = *of.RetainOldKeyFor
	}
	if of.PrivateKey != nil {
		k.Spec.PrivateKey = *of.PrivateKey
	}
	e.add(k, "")
}
