package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// full is a disk without room.
type full struct{ hostdir.System }

func (full) Write(name string, _ []byte, _ fs.FileMode, _ *hostdir.Owner) error {
	return &fs.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
}

// fixture is what an agent knows, for tables.
type fixture struct {
	t       testing.TB
	now     time.Time
	config  Config
	objects []object
	ca      pki.CA
	facts   facts
}

// twoCredentials are a kubelet's and a proxy's.
func newFixture(t testing.TB, mods ...func(*Config)) *fixture {
	t.Helper()
	d := &fixture{t: t, now: at(), ca: newCA(t, at().Add(-24*time.Hour), "k8s-ca")}
	d.config = kubeletConfig("/srv", func(c *Config) {
		c.Credentials = append(c.Credentials, Credential{Name: "proxy", Role: "KubeProxy", SecretName: "proxy-tls", Kubeconfig: true})
	})
	for _, mod := range mods {
		mod(&d.config)
	}
	var err error
	if d.objects, err = d.config.objects(); err != nil {
		t.Fatal(err)
	}
	d.facts = facts{secrets: map[string]*corev1.Secret{}, unread: map[string]string{}, keys: map[string][]byte{}, refused: map[string]string{}, states: map[string]ack.State{}}
	d.issue("kubelet", kubeletRequest())
	d.issue("proxy", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "system:kube-proxy"} }))
	return d
}

const server = "https://k8s-master:6443"

// issue is what the operator does.
func (d *fixture) issue(name string, r pki.CertificateSpec) []byte {
	d.t.Helper()
	pair, key := issue(d.t, d.now, r, d.ca)
	s := secrets(d.t, pair, key, d.ca.CertPEM(), server)["kubelet-tls"]
	s.Name = name + "-tls"
	sign(d.t, s, server)
	d.facts.secrets[s.Name] = s
	return key
}

// issueBy is what the operator does for an object of another CA.
func (d *fixture) issueBy(ca pki.CA, name string, subject pki.Subject) {
	d.t.Helper()
	mine := d.ca
	d.ca = ca
	d.issue(name, kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = subject }))
	d.ca = mine
}

func (d *fixture) desired() (desiredFiles, map[string]hostdir.File) {
	w := d.config.desired(d.now, d.objects, d.facts)
	return w, byPath(w.files)
}

// installed makes what is desired what there is.
func (d *fixture) installed() map[string]hostdir.File {
	w, files := d.desired()
	d.facts.current, d.facts.states, d.facts.latest, d.facts.trusts = hostdir.Set{ID: "..set-1", Files: w.files}, w.states, w.delivered, w.trusts
	return files
}

func TestWant(t *testing.T) {
	d := newFixture(t)
	w, files := d.desired()
	if diff := cmp.Diff([]string{
		"kube-proxy.conf", "kube-proxy.embedded.conf", "kubelet.conf", "kubelet.embedded.conf", "pki/ca.crt", "pki/client-ca.crt",
		"pki/kube-proxy.crt", "pki/kube-proxy.key", "pki/kubelet-client.crt", "pki/kubelet-client.key",
	}, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for p, f := range files {
		if public := strings.HasSuffix(p, ".crt"); public != (f.Mode == 0o644) || !public && f.Mode != 0o600 {
			t.Errorf("%s has mode %v", p, f.Mode)
		}
	}
	if len(w.problems) > 0 || !w.fresh["kubelet-tls"] || !w.fresh["proxy-tls"] {
		t.Errorf("%+v, fresh are %v", w.problems, w.fresh)
	}
	state, err := ack.StateOf(d.facts.secrets["kubelet-tls"])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state, w.states["kubelet-tls"]); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if !bytes.Contains(files["kubelet.conf"].Data, []byte("/srv/kubernetes/pki/kubelet-client.key")) {
		t.Errorf("the kubeconfig names other files:\n%s", files["kubelet.conf"].Data)
	}
}

// TestWantKeepsWhatIsBroken damages one credential in each way: it keeps its files, and the other one goes on.
func TestWantKeepsWhatIsBroken(t *testing.T) {
	edit := func(name, key string, value []byte) func(*fixture) []byte { // and the operator signs it
		return func(d *fixture) []byte {
			s := d.facts.secrets[name]
			if s.Data[key] = value; value == nil {
				delete(s.Data, key)
			}
			sign(d.t, s, server)
			return nil
		}
	}
	for name, c := range map[string]struct {
		damage  func(*fixture) []byte
		passing bool
		says    []string
	}{
		"a Secret is gone": {func(d *fixture) []byte {
			delete(d.facts.secrets, "kubelet-tls")
			d.facts.unread["kubelet-tls"] = "it is gone"
			return nil
		}, true, []string{"it is gone"}},
		"no certificate": {edit("kubelet-tls", "tls.crt", nil), false, []string{`Secret "kubelet-tls"`}},
		"no key":         {edit("kubelet-tls", "tls.key", nil), false, []string{`Secret "kubelet-tls"`}},
		"half a key":     {func(d *fixture) []byte { return halve(d, "tls.key") }, false, []string{`Secret "kubelet-tls"`}},
		"no bundle":      {edit("kubelet-tls", "ca.crt", nil), false, []string{`in Secret "kubelet-tls": there is no ca.crt`}},
		"half a bundle": {func(d *fixture) []byte {
			halve(d, "ca.crt")
			sign(d.t, d.facts.secrets["kubelet-tls"], server)
			return nil
		}, false, []string{`Secret "kubelet-tls"`, "bundle"}},
		"another's key": {func(d *fixture) []byte {
			_, key := issue(d.t, d.now, kubeletRequest(), d.ca)
			edit("kubelet-tls", "tls.key", key)(d)
			return key
		}, false, []string{`Secret "kubelet-tls"`}},
		"another's name": {func(d *fixture) []byte {
			return d.issue("kubelet", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "x" }))
		}, false, []string{"CN=x", "it is another's"}},
		"expired": {func(d *fixture) []byte {
			d.now = d.now.Add(-2 * time.Hour)
			key := d.issue("kubelet", kubeletRequest())
			d.now = d.now.Add(2 * time.Hour)
			return key
		}, false, []string{"expired at"}},
		"of another CA": {func(d *fixture) []byte {
			mine := d.ca
			d.ca = newCA(t, d.now, "k8s-ca")
			key := d.issue("kubelet", kubeletRequest())
			d.ca = mine
			edit("kubelet-tls", "ca.crt", mine.CertPEM())(d)
			return key
		}, false, []string{"does not lead to a CA of its own bundle"}},
		"refused": {func(d *fixture) []byte {
			d.facts.refused["kubelet-tls"] = "the API server said no"
			return d.issue("kubelet", kubeletRequest())
		}, false, []string{"the API server said no"}},
		"no endpoint":                 {func(d *fixture) []byte { signed(d.t, d.facts.secrets["kubelet-tls"]); return nil }, false, []string{"how to reach the API server"}},
		"no bundle of the API server": {edit("kubelet-tls", "apiserver-ca.crt", nil), false, []string{"how to reach the API server"}},
		"of another role": {func(d *fixture) []byte {
			return edit("kubelet-tls", "apiserver-ca.crt", slices.Concat(d.ca.CertPEM(), newCA(t, d.now, "another").CertPEM()))(d)
		}, true, []string{"different contents for one file, pki/ca.crt"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t)
			d.objects = []object{d.objects[1], d.objects[0]} // the proxy first
			before := d.installed()
			was := d.facts.states["kubelet-tls"]
			key := c.damage(d)
			d.issue("proxy", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "system:kube-proxy"} }))
			w, files := d.desired()
			got := w.problems["kubelet-tls"]
			says(t, fmt.Errorf("%s", got.text), c.says...)
			if got.passing != c.passing || len(w.problems) != 1 {
				t.Errorf("problems are %+v", w.problems)
			}
			holdsNoKey(t, fmt.Errorf("%s", got.text), key)
			for _, p := range []string{"kubelet.conf", "kubelet.embedded.conf", "pki/kubelet-client.crt", "pki/kubelet-client.key", "pki/ca.crt", "pki/client-ca.crt"} {
				if diff := cmp.Diff(before[p], files[p]); diff != "" {
					t.Errorf("%s has changed (-want +got):\n%s", p, diff)
				}
			}
			if !same(was, w.states["kubelet-tls"]) || w.fresh["kubelet-tls"] {
				t.Errorf("its state is %+v", w.states["kubelet-tls"])
			}
			if bytes.Equal(before["pki/kube-proxy.crt"].Data, files["pki/kube-proxy.crt"].Data) || !w.fresh["proxy-tls"] {
				t.Error("the other one waits for it")
			}
		})
	}
}

func halve(d *fixture, name string) []byte {
	data := d.facts.secrets["kubelet-tls"].Data
	whole := data[name]
	data[name] = whole[:len(whole)/2]
	return whole
}

// TestContested: where two objects want different things at one place, whichever is listed first, what is installed there stays; nothing is
// installed where nothing is.
func TestContested(t *testing.T) {
	type row struct{ first, installed bool }
	for _, c := range []row{{true, true}, {true, false}, {false, true}, {false, false}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			d := newFixture(t, func(cfg *Config) {
				at := map[bool]int{true: 0, false: len(cfg.Credentials)}[c.first]
				cfg.Credentials = slices.Insert(cfg.Credentials, at, Credential{Name: "a", Role: "Scheduler", SecretName: "a-tls", Kubeconfig: true})
			})
			before := map[string]hostdir.File{}
			if c.installed {
				before = d.installed()
			}
			d.issue("a", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "system:kube-scheduler"} }))
			s := d.facts.secrets["a-tls"]
			s.Data[serverKey] = slices.Concat(d.ca.CertPEM(), newCA(t, d.now, "staging").CertPEM())
			sign(d.t, s, server)
			w, files := d.desired()
			if diff := cmp.Diff(before[hostfiles.CA], files[hostfiles.CA]); diff != "" {
				t.Errorf("%s has changed (-want +got):\n%s", hostfiles.CA, diff)
			}
			for lease, told := range map[string]bool{"a-tls": true, "kubelet-tls": !c.installed, "proxy-tls": !c.installed} {
				if text := w.problems[lease].text; (text != "") != told || told && !strings.Contains(text, "different contents for one file") {
					t.Errorf("of %s it tells %q", lease, text)
				}
			}
		})
	}
}

// TestClientCAIsTheKubelets: a credential of role Host of another CA says nothing of the clients of a kubelet that has its own.
func TestClientCAIsTheKubelets(t *testing.T) {
	for _, name := range []string{"a", "client-ca"} { // no configuration may name the latter, and if one does
		d := newFixture(t, func(c *Config) {
			c.Credentials = slices.Insert(c.Credentials, 0, Credential{Name: name, Role: "Host", SecretName: name + "-tls"})
		})
		d.issueBy(newCA(t, d.now, "staging"), name, pki.Subject{CommonName: "k8s-node1"})
		if _, files := d.desired(); string(files[hostfiles.ClientCA].Data) != string(d.ca.CertPEM()) {
			t.Errorf("%s: the kubelet verifies its clients with\n%s", name, files[hostfiles.ClientCA].Data)
		}
	}
}

// TestWantOfAHostKey lays the host's own key beside a certificate for it, and waits for one.
func TestWantOfAHostKey(t *testing.T) {
	d := newFixture(t, onHost(pki.ECDSA, 256))
	key := d.facts.secrets["kubelet-tls"].Data["tls.key"]
	delete(d.facts.secrets["kubelet-tls"].Data, "tls.key") // as an operator writes it then
	d.facts.keys["kubelet-tls"] = key
	w, files := d.desired()
	if len(w.problems) > 0 || string(files["pki/kubelet-client.key"].Data) != string(key) || files["pki/kubelet-client.key"].Mode != 0o600 {
		t.Errorf("%+v, and the key is %+v", w.problems, files["pki/kubelet-client.key"].Mode)
	}
	if _, there := files["kubelet.embedded.conf"]; there {
		t.Error("there is a kubeconfig to embed the key")
	}
	_, d.facts.keys["kubelet-tls"] = issue(t, d.now, kubeletRequest(), d.ca)
	w, _ = d.desired()
	says(t, fmt.Errorf("%s", w.problems["kubelet-tls"].text), "for another key than this host's", "has not signed its request yet")
}

// TestNewest: of bundles of the same CAs the newest counts in every Secret, whichever was written first. One that is
// damaged counts nowhere else.
func TestNewest(t *testing.T) {
	text := map[string][]byte{"damaged": []byte("damaged")}
	for _, name := range []string{"first", "second", "of etcd", "of both", "by hand"} {
		text[name] = newCA(t, at(), name).CertPEM()
	}
	type revisions = map[string]int64
	holding := func(bundle string, of revisions) delivered {
		d := delivered{tls: map[string][]byte{"ca.crt": text[bundle]}}
		d.Trust = map[string]map[string]int64{"ca.crt": of}
		return d
	}
	elsewhere := holding("first", nil)
	elsewhere.Trust = map[string]map[string]int64{"client-ca.crt": {"k8s": 9}}
	all := map[string]delivered{
		"old":       holding("first", revisions{"k8s": 1}),
		"new":       holding("second", revisions{"k8s": 2}),
		"etcd":      holding("of etcd", revisions{"etcd": 1}),
		"both":      holding("of both", revisions{"etcd": 5, "k8s": 5}),
		"by hand":   holding("by hand", nil),
		"damaged":   holding("damaged", revisions{"k8s": 9}),
		"elsewhere": elsewhere,
	}
	newest(all)
	for name, want := range map[string]string{
		"old": "second", "new": "second", "etcd": "of etcd", "both": "of both", "by hand": "by hand", "damaged": "damaged", "elsewhere": "first",
	} {
		if !bytes.Equal(all[name].tls["ca.crt"], text[want]) {
			t.Errorf("the bundle of %q is not %q", name, want)
		}
	}
	// Of two that are each ahead in one CA, neither is the newer one.
	a, b := holding("first", revisions{"etcd": 1, "k8s": 2}), holding("second", revisions{"etcd": 2, "k8s": 1})
	newest(map[string]delivered{"a": a, "b": b})
	if !bytes.Equal(a.tls["ca.crt"], text["first"]) || !bytes.Equal(b.tls["ca.crt"], text["second"]) {
		t.Error("bundles were exchanged, and each has lost a CA")
	}
}

// TestWantNewestBundle: a bundle that has reached one Secret serves both credentials.
func TestWantNewestBundle(t *testing.T) {
	d := newFixture(t)
	next := slices.Concat(d.ca.CertPEM(), newCA(t, d.now, "k8s g2").CertPEM())
	s := d.facts.secrets["proxy-tls"]
	s.Data[serverKey] = next
	signed(t, s, reaching(server), trusting(map[string]map[string]int64{bundleKey: {"k8s": 1}, serverKey: {"k8s": 2}}))
	w, files := d.desired()
	if len(w.problems) > 0 || !bytes.Equal(files[hostfiles.CA].Data, next) || !bytes.Equal(files[hostfiles.ClientCA].Data, next) {
		t.Errorf("%+v", w.problems)
	}
	digest := func(text []byte) string {
		t.Helper()
		certs, err := pki.ParseCertificates(text)
		if err != nil {
			t.Fatal(err)
		}
		return pki.BundleDigest(certs)
	}
	if got, want := w.states["kubelet-tls"].Contents["kubelet-tls/ca.crt"], digest(next); got != want {
		t.Errorf("the kubelet's bundle is %s, not %s, which its files hold", got, want)
	}
}
