package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

func onHost(algorithm pki.Algorithm, size int) func(*Config) {
	return func(c *Config) {
		c.Credentials[0].KeySource, c.Credentials[0].PrivateKey = keySourceHost, &PrivateKey{Algorithm: string(algorithm), Size: size}
	}
}

// TestKeys makes a key once, of each kind, and one request for it that an operator signs.
func TestKeys(t *testing.T) {
	for _, spec := range []pki.KeySpec{{Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.ECDSA, Size: 384}, {Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.Ed25519}} {
		t.Run(spec.String(), func(t *testing.T) {
			c := kubeletConfig(t.TempDir(), onHost(spec.Algorithm, spec.Size))
			objects, err := c.objects()
			if err != nil {
				t.Fatal(err)
			}
			k := keyStore{dir: c.StateDirectory, sys: hostdir.Real{}}
			keys, err := k.read(objects)
			if err != nil {
				t.Fatal(err)
			}
			request, err := k.request(objects[0], keys["kubelet-tls"])
			if err != nil {
				t.Fatal(err)
			}
			csr, err := pki.ParseCSR([]byte(request))
			if err == nil {
				err = kubeletRequest(func(r *pki.CertificateSpec) { r.Key, r.Validity = spec, 8760*time.Hour }).Refuses(csr)
			}
			if err != nil {
				t.Errorf("an operator would refuse it: %v", err)
			}
			for _, name := range []string{"keys/kubelet.key", "keys/kubelet.csr"} {
				if info, err := os.Stat(filepath.Join(c.StateDirectory, name)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v %v", name, info, err)
				}
			}
			if info, err := os.Stat(filepath.Join(c.StateDirectory, "keys")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("their directory: %v %v", info, err)
			}

			again := keyStore{dir: c.StateDirectory, sys: hostdir.Real{}}
			next, err := again.read(objects)
			if err != nil || string(next["kubelet-tls"]) != string(keys["kubelet-tls"]) {
				t.Errorf("the next agent has another key (%v)", err)
			}
			if text, err := again.request(objects[0], next["kubelet-tls"]); err != nil || text != request {
				t.Errorf("the next agent makes another request (%v)", err)
			}
		})
	}
}

// TestRequestFollowsTheKey: another key has another request, and a key that is none is told without its text.
func TestRequestFollowsTheKey(t *testing.T) {
	c := kubeletConfig(t.TempDir(), onHost(pki.ECDSA, 256))
	objects, err := c.objects()
	if err != nil {
		t.Fatal(err)
	}
	k := keyStore{dir: c.StateDirectory, sys: hostdir.Real{}}
	request := func() string {
		t.Helper()
		keys, err := k.read(objects)
		if err != nil {
			t.Fatal(err)
		}
		text, err := k.request(objects[0], keys["kubelet-tls"])
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := request()
	if err := os.Remove(k.path("kubelet.key")); err != nil {
		t.Fatal(err)
	}
	if second := request(); second == first || second != request() {
		t.Error("there is a new key, and no request of its own")
	}
	_, key := issue(t, at(), kubeletRequest(), newCA(t, at(), "k8s-ca"))
	damaged := append([]byte(nil), key[:len(key)-40]...)
	_, err = k.request(objects[0], damaged)
	says(t, err, "the key of NodeCredential/kubelet", "remove "+k.path("kubelet.key"))
	holdsNoKey(t, err, key)
}

// TestKeyIsOnTheDiskFirst: without room for the key nothing is asked for.
func TestKeyIsOnTheDiskFirst(t *testing.T) {
	c := kubeletConfig(t.TempDir(), onHost(pki.ECDSA, 256))
	objects, err := c.objects()
	if err != nil {
		t.Fatal(err)
	}
	_, err = keyStore{dir: c.StateDirectory, sys: full{hostdir.Real{}}}.read(objects)
	says(t, err, "the key of NodeCredential/kubelet", "no space left on device")
	if _, err := os.Stat(filepath.Join(c.StateDirectory, "keys/kubelet.key")); !os.IsNotExist(err) {
		t.Errorf("there is a key: %v", err)
	}
}
