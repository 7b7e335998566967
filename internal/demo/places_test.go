package demo

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/config"
	"clusterpki.io/operator/config/crd"
)

func repositorySamples(t *testing.T) samples {
	t.Helper()
	s, err := loadSamples(os.DirFS("../../config/samples"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlacesResembleTheSamples(t *testing.T) {
	p, err := findPlaces(repositorySamples(t), func(string, int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	want := places{
		master: place{"k8s-master", "10.1.10.238", "127.1.10.238"},
		nodes: []place{
			{"k8s-node1", "10.1.10.239", "127.1.10.239"},
			{"k8s-node2", "10.1.10.240", "127.1.10.240"},
			{"k8s-node3", "10.1.10.241", "127.1.10.241"},
		},
		ports: ports{6443, 10257, 10259, 10250, 10256},
	}
	if diff := cmp.Diff(want, p, cmp.AllowUnexported(places{}, place{}, ports{})); diff != "" {
		t.Error(diff)
	}
}

func TestPlacesAvoidWhatIsTaken(t *testing.T) {
	for name, test := range map[string]struct {
		free              func(address string, port int) bool
		endpoint, kubelet string
	}{
		"another demo": {
			free:     func(a string, _ int) bool { return !strings.HasPrefix(a, "127.1.") },
			endpoint: "https://127.2.10.238:6443", kubelet: "127.2.10.239",
		},
		"a kubelet on every address": {
			free:     func(_ string, port int) bool { return port != 10250 },
			endpoint: "https://127.1.10.238:26443", kubelet: "127.1.10.239",
		},
	} {
		p, err := findPlaces(repositorySamples(t), test.free)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.endpoint() != test.endpoint || p.addressOf("k8s-node1") != test.kubelet {
			t.Errorf("%s: %s and %s", name, p.endpoint(), p.addressOf("k8s-node1"))
		}
	}
	if _, err := findPlaces(repositorySamples(t), func(_ string, port int) bool { return port != 2379 }); err == nil {
		t.Error("etcd's port is taken everywhere, and places were found")
	}
}

func TestMove(t *testing.T) {
	s := repositorySamples(t)
	p, err := findPlaces(s, func(string, int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.move(p); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"k8s-master":                  {"10.1.10.238", "127.1.10.238"},
		"k8s-master-etcd-server":      {"127.1.10.238", "10.1.10.238"},
		"k8s-master-etcd-peer":        {"127.1.10.238", "10.1.10.238"},
		"k8s-node2-kubelet-serving":   {"10.1.10.240", "127.1.10.240"},
		"k8s-node2-kubelet":           nil,
		"k8s-master-etcd-client":      nil,
		"k8s-master-super-admin":      nil,
		"k8s-master-admin":            nil,
		"k8s-node3-kubelet-serving":   {"10.1.10.241", "127.1.10.241"},
		"k8s-master-etcd-healthcheck": nil,
	}
	for _, o := range append(s.ofKind("APIServerCertificate"), s.ofKind("NodeCredential")...) {
		addresses, named := want[o.GetName()]
		if named && !slices.Equal(addressesOf(o), addresses) {
			t.Errorf("%s: %v instead of %v", o.GetName(), addressesOf(o), addresses)
		}
		if o.GetKind() == "APIServerCertificate" && text(o, "endpoint") != "https://127.1.10.238:6443" {
			t.Errorf("the endpoint is %s", text(o, "endpoint"))
		}
	}
}

func TestEmbeddedManifests(t *testing.T) {
	if _, err := loadManifests(crd.Files, crd.Paths()); err != nil {
		t.Error(err)
	}
	objects, err := loadManifests(config.Files, config.TargetRBAC())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "ClusterRoleBinding" && o.GetKind() != "RoleBinding" {
			t.Errorf("config/rbac/target holds a %s", o.GetKind())
		}
	}
}
