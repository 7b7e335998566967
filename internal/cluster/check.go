package cluster

import (
	"fmt"
	"net/netip"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

func invalid(format string, args ...any) error {
	return stall.Because(v1alpha1.ReasonInvalidSpec, format, args...)
}

// at is a host and where it is listed.
type at struct {
	host
	list string
}

func (a at) String() string { return fmt.Sprintf("%q of %s", a.name, a.list) }

// listed are all hosts, as they are listed. A host that is called by its address has that address.
func (e *expansion) listed() []at {
	var out []at
	for _, h := range e.controlPlane {
		out = append(out, at{host{name: h.Name, addresses: h.Addresses}, "spec.controlPlane.hosts"})
	}
	for _, h := range e.etcd {
		out = append(out, at{host{name: h.Name, addresses: h.Addresses}, "spec.controlPlane.etcd.hosts"})
	}
	for _, h := range e.nodes {
		out = append(out, at{host{name: h.Name, addresses: h.Addresses}, "spec.nodes.hosts"})
	}
	return out
}

// check refuses what cannot be made, before anything is.
func (e *expansion) check() error {
	if len(e.controlPlane) == 0 {
		return invalid("spec.controlPlane.hosts: must name a host: without an API server there is no cluster")
	}
	if e.etcdMode() == v1alpha1.EtcdExternal && len(e.etcd) == 0 {
		return invalid("spec.controlPlane.etcd.hosts: must name a host for mode 'External'; for an etcd that is none of this PKI's, set mode to 'None'")
	}
	hosts := e.listed()
	for _, check := range []func([]at) error{checkNames, distinct, e.outsideServices} {
		if err := check(hosts); err != nil {
			return err
		}
	}
	return e.checkServers()
}

// checkNames refuses a host that is called as something is that a cluster trusts by its name.
func checkNames(hosts []at) error {
	for _, h := range hosts {
		if err := pki.CheckHostName(h.name); err != nil {
			return invalid("%s: %v", h.list, err)
		}
		if err := pki.CheckCredentialName(h.name); err != nil {
			return invalid("%s: %v", h.list, err)
		}
	}
	return nil
}

// distinct refuses a name or an address that two hosts have.
func distinct(hosts []at) error {
	names, addresses := map[string]at{}, map[netip.Addr]at{}
	for _, h := range hosts {
		if other, taken := names[h.name]; taken {
			return invalid("%s: host %q is in %s too: remove it from one of them", h.list, h.name, other.list)
		}
		names[h.name] = h
		for _, text := range h.texts() {
			addr, err := pki.ParseIP(text)
			if err != nil {
				return invalid("%s: host %q: addresses: %v", h.list, h.name, err)
			}
			if other, taken := addresses[addr]; taken && other.name != h.name {
				return invalid("%s: host %q has the address %s, which is that of host %s too: an address is one host's", h.list, h.name, addr, other)
			}
			addresses[addr] = h
		}
	}
	return nil
}

// texts are the addresses of a host, and its name where that is one.
func (h host) texts() []string {
	if _, err := netip.ParseAddr(h.name); err == nil {
		return append([]string{h.name}, h.addresses...)
	}
	return h.addresses
}

// outsideServices refuses an address of a host that is in a service network.
func (e *expansion) outsideServices(hosts []at) error {
	for _, cidr := range e.Spec.ServiceCIDRs {
		network, err := netip.ParsePrefix(cidr)
		if err != nil {
			return invalid("spec.serviceCIDRs: %q is not a network: write it as in 10.96.0.0/12", cidr)
		}
		for _, h := range hosts {
			for _, text := range h.texts() {
				if addr, err := pki.ParseIP(text); err == nil && network.Contains(addr) {
					return invalid("%s: the address %s of host %q lies within spec.serviceCIDRs: service addresses are virtual, and kube-proxy would "+
						"capture the host's traffic", h.list, addr, h.name)
				}
			}
		}
	}
	return nil
}

// checkServers refuses names that no API server may have.
func (e *expansion) checkServers() error {
	if endpointOf(e.Spec.Endpoint).host == "" {
		return invalid("spec.endpoint: %q is not an https URL with a host, such as https://k8s-master:6443", e.Spec.Endpoint)
	}
	if err := pki.CheckOwnName(endpointOf(e.Spec.Endpoint).host); err != nil {
		return invalid("spec.endpoint: %v", err)
	}
	for _, n := range e.Spec.Endpoints {
		host := endpointOf(n.URL).host
		if host == "" {
			return invalid("spec.endpoints: %q is not an https URL with a host, such as https://api.example.org", n.URL)
		}
		if err := pki.CheckOwnName(host); err != nil {
			return invalid("spec.endpoints: %v", err)
		}
	}
	for _, o := range e.Spec.Outputs {
		if o.Endpoint != "" && e.urlOf(o.Endpoint) == "" {
			return invalid("spec.outputs: endpoint %q of format %q is none of spec.endpoints: add it there, or choose one of these", o.Endpoint, o.Format)
		}
	}
	for _, name := range e.Spec.ControlPlane.CertSANs {
		if err := pki.CheckOwnName(name); err != nil {
			return invalid("spec.controlPlane.certSANs: %v", err)
		}
	}
	for _, h := range e.controlPlane {
		names, addresses := e.serverNames(host{name: h.Name, addresses: h.Addresses})
		sans, err := pki.APIServerSANs(pki.APIServerInput{
			HostName: h.Name, ClusterDomain: e.clusterDomain(), ServiceCIDRs: e.Spec.ServiceCIDRs, DNSNames: names, IPAddresses: addresses,
		})
		if err != nil {
			return invalid("the API server of host %q: %v", h.Name, err)
		}
		if err := e.apart(sans); err != nil {
			return err
		}
	}
	return nil
}

// apart refuses a node that has a name of an API server: what its kubelet serves with would do for that.
func (e *expansion) apart(server pki.SANs) error {
	for _, n := range e.nodes {
		for _, name := range append([]string{n.Name}, n.Addresses...) {
			if server.Covers(name) {
				return invalid("spec.nodes.hosts: %q of host %q is a name of the API servers too, by spec.endpoint, spec.controlPlane.certSANs, a control "+
					"plane host, or by status.retainedSANs, while a kubeconfig uses it: whoever has that node could serve as an API server. "+
					"Give the API servers another name, or list their names one by one in place "+
					"of a wildcard", name, n.Name)
			}
		}
	}
	return nil
}
