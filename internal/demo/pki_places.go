package demo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/target"
)

// sample is a ClusterPKI among the samples, and how much of it is started.
type sample struct {
	file           string
	masters, nodes int
}

var (
	oneMaster    = sample{"clusterpki/cluster.yaml", 1, 3}
	threeMasters = sample{"clusterpki/ha.yaml", 3, 2}
	seed         = sample{"clusterpki/seed.yaml", 1, 3}
)

// read reads the ClusterPKI, with the nodes that are started.
func (s sample) read(text []byte) (*v1alpha1.ClusterPKI, error) {
	var pki v1alpha1.ClusterPKI
	if err := yaml.UnmarshalStrict(text, &pki); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.file, err)
	}
	if len(pki.Spec.ControlPlane.Hosts) != s.masters || len(pki.Spec.Nodes.Hosts) < s.nodes {
		return nil, fmt.Errorf("%s is of %d masters and %d nodes", s.file, len(pki.Spec.ControlPlane.Hosts), len(pki.Spec.Nodes.Hosts))
	}
	pki.Spec.Nodes.Hosts = pki.Spec.Nodes.Hosts[:s.nodes]
	return &pki, nil
}

// placesOf gives each host of a ClusterPKI a loopback address, and the load balancer where there are several masters, and finds free ports.
func placesOf(pki *v1alpha1.ClusterPKI, free func(address string, port int) bool) (places, error) {
	several := len(pki.Spec.ControlPlane.Hosts) > 1
	for _, offset := range []int{0, 20000, 30000} {
		for shift := range maxShifts {
			p := places{}
			if several {
				p.balancer = newPlace("", nil, 0, shift).address
			}
			for i, h := range pki.Spec.ControlPlane.Hosts {
				p.masters = append(p.masters, newPlace(h.Name, h.Addresses, i+1, shift))
			}
			for i, h := range pki.Spec.Nodes.Hosts {
				p.nodes = append(p.nodes, newPlace(h.Name, h.Addresses, len(p.masters)+i+1, shift))
			}
			p.master = p.masters[0]
			p.ports = ports{6443 + offset, 10257 + offset, 10259 + offset, target.KubeletPort + offset, target.ProxyPort + offset}
			if p.free(free) && (!several || free(p.balancer, p.api) && free(p.second(), p.api)) {
				return p, nil
			}
		}
	}
	return places{}, errPortsTaken
}

// second is the address of another load balancer.
func (p places) second() string { return strings.TrimSuffix(p.balancer, "10") + "9" }

// of is the place of a host.
func (p places) of(host string) place {
	all := slices.Concat(p.masters, p.nodes)
	if i := slices.IndexFunc(all, func(n place) bool { return n.host == host }); i >= 0 {
		return all[i]
	}
	return p.master
}

// move changes a ClusterPKI for the loopback addresses of its hosts, and for the patience of who looks on: all certificates of a CA are re-issued in one
// wave, and a Lease is valid for a minute.
func (p places) move(pki *v1alpha1.ClusterPKI) {
	s := &pki.Spec
	s.Endpoint, s.ControlPlane.Port = p.endpoint(), int32(p.api) //nolint:gosec // a port
	if !slices.Contains(s.Nodes.Roles, "Host") {                 // of which the master has one too, for kubectl
		s.ControlPlane.Kubelet = new(false)
	}
	for i := range s.ControlPlane.Hosts {
		h := &s.ControlPlane.Hosts[i]
		h.Addresses = p.of(h.Name).addresses()
	}
	for i := range s.Nodes.Hosts {
		h := &s.Nodes.Hosts[i]
		h.Addresses = p.of(h.Name).addresses()
	}
	s.Certificates.Delivery.LeaseDuration.Duration = leaseDuration
	all := intstr.FromString("100%")
	for _, ca := range []*v1alpha1.ClusterPKICA{&s.CertificateAuthorities.Cluster, &s.CertificateAuthorities.Etcd, &s.CertificateAuthorities.FrontProxy} {
		ca.Rotation = &v1alpha1.RotationSpec{MaxUnavailable: &all}
	}
}

// addresses are the loopback address of a host, where its servers listen, and its own.
func (p place) addresses() []string {
	if _, err := netip.ParseAddr(p.original); err != nil {
		return []string{p.address}
	}
	return []string{p.address, p.original}
}
