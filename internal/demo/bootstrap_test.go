package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// TestBootstrap: the management cluster's files are those of a host that exports itself, with keys of mode 0600.
func TestBootstrap(t *testing.T) {
	b := &bootstrap{now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), address: "127.0.20.10", port: 6443, dir: "/srv/management"}
	files, err := b.files()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
		if strings.Contains(string(f.Data), "PRIVATE KEY") != (f.Mode == 0o600 && strings.HasSuffix(f.Path, ".key")) {
			t.Errorf("%s has mode %v", f.Path, f.Mode)
		}
		if f.Path == "pki/apiserver.crt" {
			certs, err := pki.ParseCertificates(f.Data)
			if err != nil || certs[0].VerifyHostname("127.0.20.10") != nil {
				t.Errorf("the server's certificate doesn't name its address (%v)", err)
			}
		}
	}
	for _, want := range []string{"args/etcd", "args/kube-apiserver", "args/kube-controller-manager", "super-admin.conf", "pki/sa.key", "pki/etcd/healthcheck-client.key"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %v", want, names)
		}
	}
}

func TestManagementAddress(t *testing.T) {
	address, port, err := managementAddress(func(a string, p int) bool { return p != 6443 && a != "127.0.20.10" })
	if err != nil || address != "127.0.20.11" || port != 26443 {
		t.Errorf("%s:%d, %v", address, port, err)
	}
	if _, _, err := managementAddress(func(string, int) bool { return false }); err == nil {
		t.Error("nothing is free, and an address was found")
	}
}
