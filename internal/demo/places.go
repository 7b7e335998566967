package demo

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"clusterpki.io/operator/internal/target"
)

// place is where a host of the samples is on this machine.
type place struct {
	host     string
	original string // its address in the samples, "" for none
	address  string // a loopback address of its own
}

// ports are what the target cluster listens on, the same on every host.
type ports struct{ api, manager, scheduler, kubelet, proxy int }

// places is where everything of the target cluster listens.
type places struct {
	master   place
	masters  []place // where there are several; master is the first of them
	balancer string  // the address of the load balancer in front of them; "" for one master
	nodes    []place
	ports
}

var etcdPorts = []int{2379, 2380}

func (p places) endpoint() string {
	return "https://" + net.JoinHostPort(cmp.Or(p.balancer, p.master.address), strconv.Itoa(p.api))
}

// addressOf is a host's loopback address; hosts that run neither a kubelet nor the API server share the
// master's.
func (p places) addressOf(host string) string {
	for _, n := range p.nodes {
		if n.host == host {
			return n.address
		}
	}
	return p.master.address
}

// maxShifts bounds the search for free addresses; every run of the demo beside another one needs a shift.
const maxShifts = 100

var errPortsTaken = errors.New("no loopback address is free: something listens on port 2379 or 2380, etcd's, of all addresses: stop it")

// findPlaces gives each host of the samples a loopback address that resembles its own (10.1.10.238 becomes
// 127.1.10.238, or 127.2.10.238 where something listens there already), and finds free ports.
func findPlaces(s samples, free func(address string, port int) bool) (places, error) {
	servers := s.ofKind("APIServerCertificate")
	if len(servers) != 1 {
		return places{}, fmt.Errorf("the samples hold %d APIServerCertificates instead of one", len(servers))
	}
	endpoint, err := url.Parse(text(servers[0], "endpoint"))
	if err != nil {
		return places{}, fmt.Errorf("read the endpoint: %w", err)
	}
	usual := ports{api: 6443, manager: 10257, scheduler: 10259, kubelet: target.KubeletPort, proxy: target.ProxyPort}
	if n, err := strconv.Atoi(endpoint.Port()); err == nil && n > 1023 {
		usual.api = n
	}
	// A second round, with other ports, is for machines where something listens on all addresses.
	for _, offset := range []int{0, 20000, 30000} {
		for shift := range maxShifts {
			p := addresses(s, shift)
			p.ports = ports{
				usual.api + offset, usual.manager + offset, usual.scheduler + offset, usual.kubelet + offset, usual.proxy + offset,
			}
			if p.free(free) {
				return p, nil
			}
		}
	}
	return places{}, errPortsTaken
}

// addresses gives each host its loopback address.
func addresses(s samples, shift int) places {
	server := s.ofKind("APIServerCertificate")[0]
	p := places{master: newPlace(text(server, "hostName"), addressesOf(server), 0, shift)}
	own := map[string][]string{}
	for _, c := range s.ofKind("NodeCredential") {
		if text(c, "role") == "KubeletServing" {
			own[text(c, "hostName")] = addressesOf(c)
		}
	}
	for _, c := range s.ofKind("NodeCredential") {
		host := text(c, "hostName")
		if text(c, "role") != "Kubelet" {
			continue
		}
		n := newPlace(host, own[host], len(p.nodes)+1, shift)
		if host == p.master.host {
			n = p.master
		}
		p.nodes = append(p.nodes, n)
	}
	return p
}

func newPlace(host string, own []string, index, shift int) place {
	p := place{host: host, address: fmt.Sprintf("127.%d.20.%d", 1+shift, 10+index)}
	if len(own) > 0 {
		p.original = own[0]
	}
	if addr, err := netip.ParseAddr(p.original); err == nil && addr.Is4() {
		b := addr.As4()
		p.address = fmt.Sprintf("127.%d.%d.%d", (int(b[1])+shift)%256, b[2], b[3])
	}
	return p
}

// free says whether nothing listens at any of the places.
func (p places) free(free func(string, int) bool) bool {
	for _, m := range append([]place{p.master}, p.masters...) {
		for _, port := range append(slices.Clone(etcdPorts), p.api, p.manager, p.scheduler) {
			if !free(m.address, port) {
				return false
			}
		}
	}
	for _, n := range p.nodes {
		if !free(n.address, p.kubelet) || !free(n.address, p.proxy) {
			return false
		}
	}
	return true
}

// listenable says whether a port can be listened on.
func listenable(address string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port))) //nolint:noctx // it returns at once
	if err != nil {
		return false
	}
	return l.Close() == nil
}
