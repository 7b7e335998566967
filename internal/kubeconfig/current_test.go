package kubeconfig

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseCurrent reads what Render wrote, and refuses what leads nowhere.
func TestParseCurrent(t *testing.T) {
	p := Params{
		Server: "https://k8s:6443", ClusterName: "c", ContextName: "x", UserName: "u", Namespace: "n",
		CA: Material{Path: "/ca"}, Certificate: Material{PEM: []byte("cert")}, Key: Material{Path: "/key"},
	}
	text, err := Render(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCurrent(text)
	want := Current{
		ContextName: "x", ClusterName: "c", UserName: "u", Namespace: "n", Server: p.Server,
		CA: p.CA, Certificate: p.Certificate, Key: p.Key, HasUser: true,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for name, change := range map[string][2]string{
		"no current context": {"current-context: x", "current-context: y"},
		"no such cluster":    {"cluster: c", "cluster: d"},
		"malformed":          {"apiVersion", "- apiVersion"},
	} {
		if _, err := ParseCurrent([]byte(strings.Replace(string(text), change[0], change[1], 1))); err == nil {
			t.Error(name)
		}
	}
	other, err := ParseCurrent([]byte(strings.Replace(string(text), "user: u\n", "user: v\n", 1)))
	if err != nil || other.HasUser || other.UserName != "v" {
		t.Error(err, other)
	}
}
