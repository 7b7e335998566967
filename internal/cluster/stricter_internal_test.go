package cluster

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestStricter: of two limits the one holds that lets fewer go.
func TestStricter(t *testing.T) {
	of := func(text string) *intstr.IntOrString {
		if text == "" {
			return nil
		}
		return new(intstr.Parse(text))
	}
	for _, c := range []struct{ own, all, want string }{
		{"", "", ""}, {"25%", "", "25%"}, {"", "5%", "5%"}, {"25%", "5%", "5%"}, {"5%", "25%", "5%"}, {"1", "25%", "1"}, {"25%", "0", "0"},
	} {
		got := stricter(of(c.own), of(c.all))
		if (got == nil) != (c.want == "") || got != nil && got.String() != c.want {
			t.Errorf("%q and %q: %v instead of %q", c.own, c.all, got, c.want)
		}
	}
}
