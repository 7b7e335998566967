package probe

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// metadata are addresses at which clouds serve a machine's credentials, or programs of its own, to whoever asks from it, beside those
// that are link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

// embedding are the networks whose addresses stand for the IPv4 address in their last four octets (RFC 6052 §2.1, RFC 4291 §2.5.5.1).
var embedding = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("::/96")}

// unconnectable says of which kind an address is that is not connected to: whoever may write an address into an object would see by the answers
// what listens beside the operator. It is "" for any other.
func unconnectable(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLoopback():
		return "a loopback"
	case addr.IsLinkLocalUnicast():
		return "a link-local"
	case addr.IsUnspecified():
		return "an unspecified"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast"
	case slices.Contains(metadata, addr):
		return "a cloud's metadata"
	case addr.Is4() && addr.As4()[0] == 0: // this network (RFC 791), which some systems take for themselves
		return "an unspecified"
	}
	if addr.Is6() && slices.ContainsFunc(embedding, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		octets := addr.As16()
		return unconnectable(netip.AddrFrom4([4]byte(octets[12:])))
	}
	return ""
}

// RefusedError says that an address is not connected to.
type RefusedError struct {
	addr netip.Addr
	kind string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is %s address, to which the operator connects only where --probe-allow names it", e.addr, e.kind)
}

// Dialer makes handshakes. It refuses addresses at which no API server of others is, after names are resolved, unless they are allowed.
type Dialer struct{ Allow []netip.Prefix }

// control is asked for each address that a name resolves to, before a packet is sent.
func (d Dialer) control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", address, err)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", address, err)
	}
	addr = addr.Unmap()
	if slices.ContainsFunc(d.Allow, func(p netip.Prefix) bool { return p.Contains(addr.WithZone("")) }) {
		return nil
	}
	if kind := unconnectable(addr); kind != "" {
		return &RefusedError{addr, kind}
	}
	return nil
}
