package agent

import (
	"bytes"
	"crypto"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// controlPlane is what the agent of an API server's host knows: the API server, its service account keys, and a controller manager.
func controlPlane(t testing.TB) *fixture {
	t.Helper()
	d := &fixture{t: t, now: at(), ca: newCA(t, at().Add(-24*time.Hour), "k8s-ca")}
	d.config = kubeletConfig("/srv", func(c *Config) {
		c.APIServer = &APIServer{Name: "apiserver", SecretName: "apiserver-tls", ServiceAccountSecretName: "k8s-sa", Endpoint: "https://localhost:6443"}
		c.Credentials = []Credential{{Name: "manager", Role: "ControllerManager", SecretName: "manager-tls", Kubeconfig: true}}
		c.KubeletCA = "manager"
	})
	var err error
	if d.objects, err = d.config.objects(); err != nil {
		t.Fatal(err)
	}
	d.facts = facts{secrets: map[string]*corev1.Secret{}, unread: map[string]string{}, keys: map[string][]byte{}, refused: map[string]string{}, states: map[string]ack.State{}}
	d.issue("manager", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "system:kube-controller-manager"} }))
	d.serve(d.accounts(accountKey(t)))
	return d
}

// accountKey makes a service account key.
func accountKey(t testing.TB) pki.PrivateKey {
	t.Helper()
	key, err := pki.GenerateKey(ecdsa256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// accountSecret is what the operator writes for a ServiceAccountKey, of whose keys the first signs.
func accountSecret(t testing.TB, keys ...pki.PrivateKey) *corev1.Secret {
	t.Helper()
	private, err := keys[0].Reveal()
	if err != nil {
		t.Fatal(err)
	}
	var all []crypto.PublicKey
	for _, k := range keys {
		all = append(all, k.Public())
	}
	public, err := keyring.PublicPEM(all)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "k8s-sa"}, Data: map[string][]byte{"sa.key": private, "sa.pub": public}}
}

// accounts publishes service account keys, and returns the digest of the public ones.
func (d *fixture) accounts(keys ...pki.PrivateKey) string {
	d.t.Helper()
	s := accountSecret(d.t, keys...)
	d.facts.secrets["k8s-sa"] = s
	return delivery.DigestOf(s.Data["sa.pub"])
}

// serve is what the operator writes for an API server that is to have some service account keys.
func (d *fixture) serve(accounts string) {
	d.t.Helper()
	sans, err := pki.NewSANs([]string{"localhost"}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	pair, key := issue(d.t, d.now, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-node1"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: time.Hour,
	}, d.ca)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "apiserver-tls"}, Data: map[string][]byte{
		"tls.crt": pair.CertPEM(), "tls.key": key, "ca.crt": d.ca.CertPEM(), "client-ca.crt": d.ca.CertPEM(), "requestheader-ca.crt": d.ca.CertPEM(),
	}}
	d.facts.secrets[s.Name] = s
	signed(d.t, s, func(doc *delivery.Document) {
		doc.Kind, doc.ServiceAccounts = "APIServerCertificate", &delivery.ServiceAccounts{SHA256: accounts}
	})
}

// keepsItsFiles says that an edit brings nothing to the host, and that this is told.
func (d *fixture) keepsItsFiles(before map[string]hostdir.File, lease string, told ...string) {
	d.t.Helper()
	w, files := d.desired()
	if diff := cmp.Diff(before, files); diff != "" {
		d.t.Errorf("files have changed (-want +got):\n%s", diff)
	}
	says(d.t, fmt.Errorf("%s", w.problems[lease].text), told...)
	if w.fresh[lease] || w.problems[lease].passing {
		d.t.Errorf("it counts as installed, or as passing: %+v", w.problems[lease])
	}
}

// TestNoEditReachesAHost edits each value of an API server's Secrets in turn, and of a client's, as whoever may update one can: adding a CA of
// his own to client-ca.crt would make him a member of system:masters.
func TestNoEditReachesAHost(t *testing.T) {
	for _, secret := range []string{"apiserver-tls", "manager-tls"} {
		for _, key := range slices.Sorted(maps.Keys(controlPlane(t).facts.secrets[secret].Data)) {
			t.Run(secret+"/"+key, func(t *testing.T) {
				d := controlPlane(t)
				before := d.installed()
				evil := newCA(t, d.now, "k8s-ca") // of the same name
				_, evilKey := issue(t, d.now, kubeletRequest(), evil)
				s := d.facts.secrets[secret].DeepCopy()
				d.facts.secrets[secret] = s
				told := []string{"SignatureInvalid", secret, key}
				switch key {
				case "tls.key":
					s.Data[key], told = evilKey, []string{"key"}
				case "delivery":
					s.Data[key], told = []byte(`{"keyID":"x"}`), []string{"SignatureInvalid", secret}
				default:
					s.Data[key] = slices.Concat(s.Data[key], evil.CertPEM())
				}
				d.keepsItsFiles(before, secret, told...)
				if w, _ := d.desired(); len(w.problems) != 1 {
					t.Errorf("others wait for it: %+v", w.problems)
				}
				delete(s.Data, key)
				if key != "tls.key" {
					d.keepsItsFiles(before, secret, "SignatureInvalid")
				}
			})
		}
	}
}

// TestNothingElseIsTaken: of a Secret whose signature fits, what is not signed plays no part, such as a kubeconfig that runs a program.
func TestNothingElseIsTaken(t *testing.T) {
	d := controlPlane(t)
	before := d.installed()
	for _, secret := range []string{"apiserver-tls", "k8s-sa", "manager-tls"} {
		s := d.facts.secrets[secret].DeepCopy()
		for _, key := range []string{"value", "kubeconfig.files", "client-ca.crt", "apiserver-ca.crt", "sa.pub", "../../etc/passwd"} {
			if _, there := s.Data[key]; !there {
				s.Data[key] = []byte("users: [{name: x, user: {exec: {command: /bin/evil}}}]")
			}
		}
		s.Annotations = map[string]string{"clusterpki.io/claim": `seal {"trust":{"ca.crt":{"k8s":99},"client-ca.crt":{"k8s":99}}}`}
		d.facts.secrets[secret] = s
	}
	w, files := d.desired()
	if diff := cmp.Diff(before, files); diff != "" || len(w.problems) > 0 {
		t.Errorf("%+v (-want +got):\n%s", w.problems, diff)
	}
}

// TestSignedForAnother: what is signed, but not for this object, on this host, as it is now, is not taken.
func TestSignedForAnother(t *testing.T) {
	earlier := func(by time.Duration) func(*delivery.Document) {
		return func(d *delivery.Document) { d.Time = d.Time.Add(-by) }
	}
	for name, c := range map[string]struct {
		mod  func(*delivery.Document)
		told []string // nothing: it is taken
	}{
		"another kind":            {func(d *delivery.Document) { d.Kind = "APIServerCertificate" }, []string{"SignatureInvalid", "another object's"}},
		"another namespace":       {func(d *delivery.Document) { d.Namespace = "test" }, []string{"SignatureInvalid", "test/kubelet", "prod/kubelet"}},
		"another object":          {func(d *delivery.Document) { d.Name = "proxy" }, []string{"SignatureInvalid", "prod/proxy"}},
		"another host":            {func(d *delivery.Document) { d.Host = "k8s-node2" }, []string{"SignatureInvalid", `"k8s-node2"`}},
		"an older state":          {earlier(time.Hour), []string{"DeliveryOutdated", "delete the Secret"}},
		"an older one, made anew": {func(d *delivery.Document) { d.UID = "another"; earlier(time.Hour)(d) }, []string{"DeliveryOutdated"}},
		"of the year 2999":        {func(d *delivery.Document) { d.Time = at().AddDate(973, 0, 0) }, []string{"DeliveryAhead", "clock", "change"}},
		"of the next hour":        {func(d *delivery.Document) { d.Time = at().Add(time.Hour) }, nil},
		"made anew":               {func(d *delivery.Document) { d.UID = "another" }, nil},
		"a later one":             {func(*delivery.Document) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t)
			before := d.installed()
			d.issue("kubelet", kubeletRequest())
			s := d.facts.secrets["kubelet-tls"]
			signed(t, s, reaching(server), trusting(map[string]map[string]int64{bundleKey: {"k8s": 1}, serverKey: {"k8s": 1}}), c.mod)
			if len(c.told) > 0 {
				d.keepsItsFiles(before, "kubelet-tls", c.told...)
				return
			}
			if w, _ := d.desired(); len(w.problems) > 0 || !w.fresh["kubelet-tls"] {
				t.Errorf("%+v", w.problems)
			}
		})
	}
}

// TestAnothersSecretCopiedOver: the whole Secret of another credential of this host, with its signature.
func TestAnothersSecretCopiedOver(t *testing.T) {
	d := newFixture(t)
	before := d.installed()
	copied := d.facts.secrets["proxy-tls"].DeepCopy()
	copied.Name = "kubelet-tls"
	d.facts.secrets["kubelet-tls"] = copied
	d.keepsItsFiles(before, "kubelet-tls", "SignatureInvalid", "prod/proxy", "prod/kubelet")
}

// TestSameTimeIsNotLater: of two documents of one time the one that was taken stays.
func TestSameTimeIsNotLater(t *testing.T) {
	d := newFixture(t)
	var when time.Time
	s := d.facts.secrets["kubelet-tls"]
	signed(t, s, reaching(server), func(doc *delivery.Document) { when = doc.Time })
	before := d.installed()
	if w, _ := d.desired(); len(w.problems) > 0 {
		t.Errorf("the same is not taken again: %+v", w.problems)
	}
	signed(t, s, reaching("https://another:6443"), func(doc *delivery.Document) { doc.Time = when })
	d.keepsItsFiles(before, "kubelet-tls", "DeliveryOutdated")
}

// TestOlderStateAfterRestart: the record on the disk keeps what was taken last, also of what was rolled back.
func TestOlderStateAfterRestart(t *testing.T) {
	w := newEnv(t)
	first := w.put(kubeletRequest())
	older := w.store.facts().secrets["kubelet-tls"].DeepCopy()
	w.steps()
	w.is(first, true, "")
	_, failing := w.reloads()
	*failing = fmt.Errorf("exit status 1")
	w.put(kubeletRequest())
	w.steps()
	w.is(first, true, "rolled back")
	*failing = nil
	w.Agent = w.restarted(w.cfg)
	older.ResourceVersion = "restored"
	w.store.put("kubelet-tls", older, "")
	w.steps()
	w.is(first, true, "DeliveryOutdated")
	rec, _ := w.rec()
	if rec.Delivered["kubelet-tls"].Statement == "" {
		t.Error("the record has forgotten what was taken")
	}
}

// TestKubeconfigOfTheHost is rendered there, from what is signed alone.
func TestKubeconfigOfTheHost(t *testing.T) {
	d := newFixture(t)
	for _, hostile := range []string{
		"http://k8s-master:6443", "https://", "https://a:b@k8s-master", "k8s-master", "file:///etc/shadow", "",
	} {
		before := d.installed()
		signed(t, d.facts.secrets["kubelet-tls"], reaching(hostile))
		w, files := d.desired()
		if diff := cmp.Diff(before, files); diff != "" || w.problems["kubelet-tls"].text == "" {
			t.Errorf("%q reaches the host: %+v", hostile, w.problems)
		}
	}
	s := d.facts.secrets["kubelet-tls"]
	signed(t, s, func(doc *delivery.Document) {
		doc.Kubeconfig = &delivery.Kubeconfig{Server: server, ClusterName: `"}`, ContextName: "a: b", UserName: "x]\\", Namespace: "- y"}
	})
	_, files := d.desired()
	for _, name := range []string{"kubelet.conf", "kubelet.embedded.conf"} {
		text := files[name].Data
		if !bytes.Contains(text, []byte(`name: "\"}"`)) || !bytes.Contains(text, []byte(`namespace: "- y"`)) || bytes.Contains(text, []byte("exec")) {
			t.Errorf("%s is\n%s", name, text)
		}
	}
}
