package cli

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestPrefixes reads the networks of --probe-allow, and says how to write one.
func TestPrefixes(t *testing.T) {
	got, err := prefixes([]string{"127.0.0.1/8", "::1/128"})
	if want := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "127.0.0.1", "loopback", "10.0.0.0/33"} {
		if _, err := prefixes([]string{text}); err == nil || !strings.Contains(err.Error(), "write it as in 127.0.0.0/8") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
