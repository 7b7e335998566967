package probe

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestAddresses says which addresses are connected to, and which only where they are allowed.
func TestAddresses(t *testing.T) {
	for address, kind := range map[string]string{
		"127.0.0.1": "loopback", "127.77.10.238": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "::127.0.0.1": "loopback",
		"64:ff9b::7f00:1": "loopback", "169.254.169.254": "link-local", "::ffff:169.254.169.254": "link-local", "64:ff9b::a9fe:a9fe": "link-local",
		"169.254.0.1": "link-local", "fe80::1": "link-local", "fe80::1%lo": "link-local", "fd00:ec2::254": "metadata", "fd20:ce::254": "metadata",
		"168.63.129.16": "metadata", "100.100.100.200": "metadata", "192.0.0.192": "metadata",
		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified", "::ffff:0.0.0.0": "unspecified",
		"224.0.0.1": "multicast", "255.255.255.255": "broadcast", "ff02::1": "multicast",
		"10.1.10.238": "", "192.168.0.1": "", "172.16.0.1": "", "100.100.100.201": "", "8.8.8.8": "", "2001:db8::7": "", "fd00::7": "", "64:ff9b::808:808": "",
	} {
		if got := unconnectable(netip.MustParseAddr(address)); kind == "" && got != "" || kind != "" && !strings.Contains(got, kind) {
			t.Errorf("%s is %q, want %q", address, got, kind)
		}
		port := "[" + address + "]:6443"
		err := Dialer{}.control("tcp", port, nil)
		if _, is := errors.AsType[*RefusedError](err); is != (kind != "") || err != nil && !is {
			t.Errorf("%s: %v", address, err)
		}
		plain := netip.MustParseAddr(address).Unmap().WithZone("")
		if err := (Dialer{Allow: []netip.Prefix{netip.PrefixFrom(plain, plain.BitLen())}}).control("tcp", port, nil); err != nil {
			t.Errorf("%s is allowed: %v", address, err)
		}
	}
}

// TestRefusedAfterResolution connects to a server at loopback, by its address and by names that lead there: no packet arrives.
func TestRefusedAfterResolution(t *testing.T) {
	ca := newCA(t, "k8s-ca")
	s := serve(t, "127.0.0.1:0", config(newLeaf(t, ca, ecdsa256), ca))
	_, port, _ := strings.Cut(s.address, ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0"} {
		_, err := Dialer{}.Dial(t.Context(), host+":"+port, "")
		if err == nil || !strings.Contains(err.Error(), "--probe-allow") && host != "0" {
			t.Errorf("%s: %v", host, err)
		}
	}
	select {
	case v := <-s.visits:
		t.Errorf("somebody connected: %+v", v)
	default:
	}
	if _, err := atLoopback.Dial(t.Context(), s.address, ""); err != nil {
		t.Error(err)
	}
}
