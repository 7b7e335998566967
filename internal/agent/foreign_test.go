package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// signedOf signs a Secret of the fixture, whose bundles are of a ClusterCA.
func (d *fixture) signedOf(ca, name string) {
	d.t.Helper()
	of := map[string]int64{ca: 2}
	signed(d.t, d.facts.secrets[name], reaching(server), trusting(map[string]map[string]int64{bundleKey: of, serverKey: of}))
}

func bundleID(t *testing.T, text []byte) string {
	t.Helper()
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	return pki.BundleDigest(certs)
}

// TestForeignPKI: a bundle in which there is no key of those that the host trusts is installed if the same ClusterCA publishes it, or if a person says so
// on the host, by its digest.
func TestForeignPKI(t *testing.T) {
	for name, c := range map[string]struct {
		overlap bool
		ca      string // the ClusterCA that it is of
		replace string // "its own", or a digest
		lost    bool   // what the host remembers
		fresh   bool   // nothing is installed
		refused bool
	}{
		"a rotation":   {ca: "k8s", overlap: true},
		"an emergency": {ca: "k8s"},
		"an emergency, and nothing is remembered":        {ca: "k8s", lost: true, refused: true},
		"a rotation, and nothing is remembered":          {ca: "k8s", overlap: true, lost: true},
		"another ClusterCA":                              {ca: "mine", refused: true},
		"another ClusterCA that has imported the key":    {ca: "mine", overlap: true},
		"another ClusterCA, as a person has decided":     {ca: "mine", replace: "its own"},
		"another ClusterCA than a person has decided":    {ca: "mine", replace: strings.Repeat("ab", 32), refused: true},
		"another ClusterCA, and nothing to compare with": {ca: "mine", fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t, func(c *Config) { c.Credentials = c.Credentials[:1] })
			delete(d.facts.secrets, "proxy-tls")
			before := map[string]hostdir.File{}
			if !c.fresh {
				before = d.installed()
			}
			if c.lost {
				d.facts.trusts = nil
			}
			was := d.ca
			d.ca = newCA(t, d.now, "next")
			d.issue("kubelet", kubeletRequest())
			bundle := d.ca.CertPEM()
			if c.overlap {
				bundle = slices.Concat(was.CertPEM(), bundle)
			}
			s := d.facts.secrets["kubelet-tls"]
			s.Data[bundleKey], s.Data[serverKey] = bundle, bundle
			d.signedOf(c.ca, "kubelet-tls")
			if c.replace == "its own" {
				c.replace = bundleID(t, bundle)
			}
			if c.replace != "" {
				d.config.ReplacePKI = []string{c.replace}
			}
			w, files := d.desired()
			if text := w.problems["kubelet-tls"].text; strings.HasPrefix(text, "ForeignPKI: pki/ca.crt") != c.refused || c.refused && !strings.Contains(text, bundleID(t, bundle)) {
				t.Errorf("it tells %q", text)
			}
			for _, p := range []string{hostfiles.CA, hostfiles.ClientCA} {
				want := hostdir.File{Path: p, Mode: 0o644, Data: bundle}
				if c.refused {
					want = before[p]
				}
				if diff := cmp.Diff(want, files[p]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", p, diff)
				}
			}
		})
	}
}

// TestForeignPKIAtEachPlace: no bundle of another CA gets to any of the places that say whom a host trusts.
func TestForeignPKIAtEachPlace(t *testing.T) {
	for place, cred := range map[string]Credential{
		hostfiles.ClientCA:     {Name: "kubelet", Role: "Kubelet"}, // what verifies the API server stays the same
		hostfiles.FrontProxyCA: {Name: "kubelet", Role: "FrontProxyClient"},
		hostfiles.EtcdCA:       {Name: "kubelet", Role: "EtcdClient"},
		hostfiles.KubeletCA:    {Name: "kubelet", Role: "APIServerKubeletClient"},
	} {
		t.Run(place, func(t *testing.T) {
			cred.SecretName, cred.Kubeconfig = "kubelet-tls", cred.Role == "Kubelet"
			id, ok := pki.LookupRole(cred.Role)
			if !ok {
				t.Fatal("no such role")
			}
			request := kubeletRequest(func(r *pki.CertificateSpec) {
				r.Subject = pki.Subject{CommonName: id.CommonNameFor("k8s-node1"), Organizations: id.Organizations}
			})
			d := newFixture(t, func(c *Config) {
				c.Credentials = []Credential{cred}
				if place == hostfiles.KubeletCA {
					c.KubeletCA = cred.Name
				}
			})
			d.issue("kubelet", request)
			before := d.installed()
			if before[place].Path == "" {
				w, _ := d.desired()
				t.Fatalf("nothing is at %s: %+v", place, w.problems)
			}
			api := d.facts.secrets["kubelet-tls"].Data[serverKey]
			d.ca = newCA(t, d.now, "mine")
			d.issue("kubelet", request)
			d.facts.secrets["kubelet-tls"].Data[serverKey] = api
			d.signedOf("mine", "kubelet-tls")
			w, files := d.desired()
			if diff := cmp.Diff(before, files); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if text := w.problems["kubelet-tls"].text; !strings.HasPrefix(text, "ForeignPKI: "+place) {
				t.Errorf("it tells %q", text)
			}
		})
	}
}

// TestForeignPKIIsRemembered: whom a host trusts lies beside its files, so that an emergency goes on after the agent was started anew; a host whose
// objects were turned to another CA and another API server stays with its own.
func TestForeignPKIIsRemembered(t *testing.T) {
	w := newEnv(t)
	w.run = func(context.Context, []string) (string, error) { return "", nil }
	w.put(kubeletRequest())
	w.steps()
	for n, of := range []string{"k8s", "mine"} {
		w.Agent = w.restarted(w.cfg)
		was, ca := w.server, newCA(t, at(), fmt.Sprint("next ", n))
		w.ca, w.server = ca, apiServer(t, ca, ca, answerAs)
		w.put(kubeletRequest())
		s := w.store.facts().secrets["kubelet-tls"]
		trust := map[string]int64{of: 2}
		signed(t, s, reaching(w.server.URL), trusting(map[string]map[string]int64{bundleKey: trust, serverKey: trust}))
		w.now.Step(time.Minute)
		w.steps()
		set, err := w.dir.Current()
		if err != nil {
			t.Fatal(err)
		}
		files := byPath(set.Files)
		taken := strings.Contains(string(files["kubelet.conf"].Data), w.server.URL) && string(files[hostfiles.CA].Data) == string(ca.CertPEM())
		if want := of == "k8s"; taken != want || strings.Contains(w.told(), "ForeignPKI") == want {
			t.Errorf("of %s, after %s: taken %t, told %q", of, was.URL, taken, w.told())
		}
	}
}

// TestEqualBundles: of two CAs whose bundles are equal, as those of two intermediates below one root are, each path is of the one whose bundle goes there. What
// that one publishes next follows on it, and what the other one does is foreign.
func TestEqualBundles(t *testing.T) {
	for _, ca := range []string{"nodes", "servers"} {
		d := newFixture(t, func(c *Config) { c.Credentials = c.Credentials[:1] })
		delete(d.facts.secrets, "proxy-tls")
		signs := func(clients string) {
			signed(t, d.facts.secrets["kubelet-tls"], reaching(server), trusting(map[string]map[string]int64{bundleKey: {clients: 2}, serverKey: {"servers": 2}}))
		}
		signs("nodes")
		d.installed()
		servers := d.facts.secrets["kubelet-tls"].Data[serverKey]
		d.ca = newCA(t, d.now, "next")
		d.issue("kubelet", kubeletRequest())
		d.facts.secrets["kubelet-tls"].Data[serverKey] = servers
		signs(ca)
		w, files := d.desired()
		if taken := string(files[hostfiles.ClientCA].Data) == string(d.ca.CertPEM()); taken != (ca == "nodes") {
			t.Errorf("pki/client-ca.crt was of nodes; without a key in common that of %s is taken: %t; %q", ca, taken, w.problems["kubelet-tls"].text)
		}
	}
}

// TestNamedOneDecides: a bundle that a person has named is installed, although another object of the host, which nobody can write, holds what is there. The other
// one is told, by the name of the Secret that differs.
func TestNamedOneDecides(t *testing.T) {
	d := newFixture(t)
	before := d.installed()
	d.ca = newCA(t, d.now, "next")
	d.issue("kubelet", kubeletRequest())
	d.config.ReplacePKI = []string{bundleID(t, d.ca.CertPEM())}
	d.signedOf("next", "kubelet-tls")
	w, files := d.desired()
	if string(files[hostfiles.CA].Data) != string(d.ca.CertPEM()) || !w.fresh["kubelet-tls"] {
		t.Errorf("kubelet: %q; proxy: %q", w.problems["kubelet-tls"].text, w.problems["proxy-tls"].text)
	}
	if text := w.problems["proxy-tls"].text; !strings.Contains(text, "Secret kubelet-tls") {
		t.Errorf("kube-proxy's object says %q", text)
	}
	d.config.ReplacePKI = append(d.config.ReplacePKI, bundleID(t, before[hostfiles.CA].Data))
	if _, files := d.desired(); string(files[hostfiles.CA].Data) != string(before[hostfiles.CA].Data) {
		t.Error("of two that are named another one than what is there is installed")
	}
}

// TestHostsOfTwoCAs: of two credentials of role Host each has its files. Only if their CA is the same one, as signed, does what verifies the clients of a kubelet
// come of it; else what is there stays, and nothing is first. One that is not signed keeps nobody from renewing that.
func TestHostsOfTwoCAs(t *testing.T) {
	for name, c := range map[string]struct {
		other     string // the ClusterCA of the second; "" while its Secret was not read
		installed bool   // of k8s, before the second one was there
		want      string // the ClusterCA, and the key, that is there then
	}{
		"one CA":                     {other: "k8s", want: "k8s"},
		"one CA, renewed":            {other: "k8s", installed: true, want: "k8s"},
		"two CAs":                    {other: "etcd"},
		"two CAs, and one was there": {other: "etcd", installed: true, want: "before"},
		"unread":                     {other: ""},
		"unread, and one is there":   {other: "", installed: true, want: "k8s"},
	} {
		t.Run(name, func(t *testing.T) {
			host := func(name string) Credential {
				return Credential{Name: name, Role: "Host", SecretName: name + "-tls", Kubeconfig: true}
			}
			d := newFixture(t, func(c *Config) { c.Credentials = []Credential{host("kubelet"), host("proxy")} })
			d.facts.secrets = map[string]*corev1.Secret{}
			bundles := map[string]string{"": ""}
			issue := func(of, name string, ca pki.CA, api []byte) {
				d.issueBy(ca, name, pki.Subject{CommonName: "k8s-node1"})
				s := d.facts.secrets[name+"-tls"]
				s.Data[serverKey] = api
				signed(t, s, reaching(server), trusting(map[string]map[string]int64{bundleKey: {of: 2}, serverKey: {"k8s": 2}}))
				bundles[of] = string(ca.CertPEM())
			}
			k8s, etcd := d.ca, newCA(t, d.now, "etcd")
			if c.installed {
				all := d.config.Credentials
				d.config.Credentials = all[:1]
				issue("k8s", "kubelet", k8s, k8s.CertPEM())
				d.installed()
				d.config.Credentials, bundles["before"] = all, bundles["k8s"]
				k8s = newCA(t, d.now, "k8s g2")
			}
			issue("k8s", "kubelet", k8s, k8s.CertPEM())
			if c.other != "" {
				issue(c.other, "proxy", map[string]pki.CA{"k8s": k8s, "etcd": etcd}[c.other], k8s.CertPEM())
			}
			w, files := d.desired()
			if got := string(files[hostfiles.ClientCA].Data); got != bundles[c.want] {
				t.Errorf("what verifies clients is\n%s, not of %q", got, c.want)
			}
			if c.other != "" && (len(w.problems) > 0 || !w.fresh["kubelet-tls"] || !w.fresh["proxy-tls"]) {
				t.Errorf("it tells %+v", w.problems)
			}
		})
	}
}
