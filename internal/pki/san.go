package pki

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// SANs are the subject alternative names of a certificate (RFC 5280 §4.2.1.6), in canonical
// form: lower case, sorted, without duplicates.
type SANs struct {
	DNSNames    []string
	IPAddresses []netip.Addr
}

const label = `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`

var (
	dnsName = regexp.MustCompile(`^(\*\.)?` + label + `(\.` + label + `)*$`)
	// numericEnd marks what URLs and some resolvers read as an address, such as 010.0.0.1 and 10.96.1.
	numericEnd = regexp.MustCompile(`\.[0-9]+$`)
)

// NewSANs checks and canonicalises names and addresses, so that their order and spelling never
// make a difference.
func NewSANs(names, addresses []string) (SANs, error) {
	var s SANs
	for _, name := range names {
		name = strings.TrimSuffix(name, ".")
		if _, err := netip.ParseAddr(name); err == nil || numericEnd.MatchString(name) {
			return SANs{}, fmt.Errorf("%q is an IP address, not a DNS name: move it to the IP addresses", name)
		}
		if len(name) > 253 || !dnsName.MatchString(name) {
			return SANs{}, fmt.Errorf("%q is not a DNS name: use lower-case letters, digits, '-' and '.', "+
				"an A-label (xn--…) for an internationalised name", name)
		}
		s.DNSNames = append(s.DNSNames, name)
	}
	for _, text := range addresses {
		addr, err := ParseIP(text)
		if err != nil {
			return SANs{}, err
		}
		s.IPAddresses = append(s.IPAddresses, addr)
	}
	return s.canonical(), nil
}

// canonical is s, sorted and without duplicates.
func (s SANs) canonical() SANs {
	slices.Sort(s.DNSNames)
	s.DNSNames = slices.Compact(s.DNSNames)
	slices.SortFunc(s.IPAddresses, netip.Addr.Compare)
	s.IPAddresses = slices.Compact(s.IPAddresses)
	return s
}

// hostName is what Kubernetes takes as the name of a Node (IsDNS1123Subdomain of k8s.io/apimachinery): an IPv4 address is one, and a
// name may end in a number.
var hostName = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)

// CheckHostName says why a text cannot be the name of a host.
func CheckHostName(host string) error {
	if len(host) > 253 || !hostName.MatchString(host) {
		return fmt.Errorf("%q is not a host name: use lower-case letters, digits, '-' and '.', as for the name of a Node", host)
	}
	return CheckOwnName(host)
}

// WithHost adds the name of a host: as an address where it is one.
func (s SANs) WithHost(host string) (SANs, error) {
	if err := CheckHostName(host); err != nil {
		return SANs{}, err
	}
	s = SANs{slices.Clone(s.DNSNames), slices.Clone(s.IPAddresses)}
	switch addr, err := netip.ParseAddr(host); {
	case err == nil:
		s.IPAddresses = append(s.IPAddresses, addr)
	case strings.Trim(host, ".0123456789") == "" && strings.Contains(host, "."): // inet_aton(3) takes it for an address, Go for a name
		return SANs{}, fmt.Errorf("%q is neither an IP address nor a name that nobody takes for one: write the address as in 10.0.10.2", host)
	default:
		s.DNSNames = append(s.DNSNames, host)
	}
	return s.canonical(), nil
}

// ParseIP reads an address strictly: no leading zeros, no zone; IPv4 mapped into IPv6 becomes IPv4.
func ParseIP(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address: no leading zeros, port or prefix length", text)
	}
	if addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q has a zone, which a certificate cannot hold: remove %q", text, "%"+addr.Zone())
	}
	return addr.Unmap(), nil
}

// FirstServiceIP returns the address that the API server gives to the Service "kubernetes":
// the network's own address plus one. Host bits of the CIDR do not count.
// (kube-apiserver, option --service-cluster-ip-range.)
func FirstServiceIP(cidr string) (netip.Addr, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not a network: write it as in 10.96.0.0/12", cidr)
	}
	if prefix.Addr().Is4In6() {
		return netip.Addr{}, fmt.Errorf("%q is an IPv4 network written as IPv6: write it as in 10.96.0.0/12", cidr)
	}
	if hostBits := prefix.Addr().BitLen() - prefix.Bits(); hostBits < 3 {
		return netip.Addr{}, fmt.Errorf("%q holds fewer than 8 addresses: kube-apiserver needs at least 8 (/29, or /125 for IPv6)", cidr)
	}
	return prefix.Masked().Addr().Next(), nil
}

// APIServerInput is what the SANs of a kube-apiserver follow from.
type APIServerInput struct {
	HostName      string
	ClusterDomain string
	ServiceCIDRs  []string // one, or one of each IP family
	DNSNames      []string
	IPAddresses   []string
}

// serviceNames are those of the Service "kubernetes" in every cluster.
var serviceNames = []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"}

// ServiceNames are the names of the Service "kubernetes" in every form that pods use.
func ServiceNames(clusterDomain string) []string {
	return append(slices.Clone(serviceNames), serviceNames[len(serviceNames)-1]+"."+clusterDomain)
}

// APIServerSANs returns every name by which clients reach a kube-apiserver: its own, those of the
// Service "kubernetes" in every form that pods use, the loopback ones, and those given.
func APIServerSANs(in APIServerInput) (SANs, error) {
	names := slices.Concat([]string{"localhost"}, ServiceNames(in.ClusterDomain), in.DNSNames)
	addresses := append([]string{"127.0.0.1", "::1"}, in.IPAddresses...)
	var families [2]bool
	for _, cidr := range in.ServiceCIDRs {
		first, err := FirstServiceIP(cidr)
		if err != nil {
			return SANs{}, err
		}
		family := 0
		if first.Is6() {
			family = 1
		}
		if families[family] {
			return SANs{}, fmt.Errorf("service networks %q are of one IP family: give at most one of each", in.ServiceCIDRs)
		}
		families[family] = true
		addresses = append(addresses, first.String())
	}
	sans, err := NewSANs(names, addresses)
	if err != nil {
		return SANs{}, err
	}
	return sans.WithHost(in.HostName)
}

// Covers says whether a client that connects to host accepts a certificate with these SANs.
// A wildcard stands for exactly the leftmost label (RFC 6125 §6.4.3).
func (s SANs) Covers(host string) bool {
	if addr, err := ParseIP(host); err == nil {
		return slices.Contains(s.IPAddresses, addr)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	first, parent, _ := strings.Cut(host, ".")
	return slices.Contains(s.DNSNames, host) || first != "" && slices.Contains(s.DNSNames, "*."+parent)
}

// EndpointHost returns the host of an https URL, without port and brackets. A URL that names a user is refused.
func EndpointHost(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not an https URL with a host, such as https://k8s-master:6443", endpoint)
	}
	if u.User != nil { // not quoted: it may hold a password
		return "", fmt.Errorf("the URL of host %q names a user: remove what stands before the @", u.Hostname())
	}
	return u.Hostname(), nil
}

// String lists the names, then the addresses.
func (s SANs) String() string {
	all := slices.Clone(s.DNSNames)
	for _, addr := range s.IPAddresses {
		all = append(all, addr.String())
	}
	return strings.Join(all, ", ")
}
