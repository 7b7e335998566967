package agent

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// has says that a host is to have service account keys, the first of which signs, and that this is what would be acknowledged.
func (d *fixture) has(keys ...pki.PrivateKey) {
	d.t.Helper()
	w, files := d.desired()
	want := accountSecret(d.t, keys...).Data
	for name, key := range map[string]string{hostfiles.ServiceAccKey: "sa.key", hostfiles.ServiceAccPub: "sa.pub"} {
		if !bytes.Equal(files[name].Data, want[key]) {
			d.t.Errorf("%s is another one", name)
		}
	}
	if got := w.states["apiserver-tls"].Contents["k8s-sa/sa.pub"]; got != delivery.DigestOf(want["sa.pub"]) {
		d.t.Errorf("what would be acknowledged is %s", got)
	}
}

// TestServiceAccountKeysAwaitTheirTurn: the next keys lie in the Secret before this host is to have them. It keeps those that it has, and everything else of
// the object goes on.
func TestServiceAccountKeysAwaitTheirTurn(t *testing.T) {
	d := controlPlane(t)
	first, next := accountKey(t), accountKey(t)
	now := d.accounts(first)
	d.serve(now)
	before := d.installed()
	for name, change := range map[string]func() string{
		"a key more":      func() string { return d.accounts(first, next) },
		"the next signs":  func() string { return d.accounts(next, first) },
		"nobody reads it": func() string { delete(d.facts.secrets, "k8s-sa"); return "" },
		"somebody adds a key": func() string {
			s := accountSecret(t, first)
			s.Data["sa.pub"] = append(s.Data["sa.pub"], accountSecret(t, next).Data["sa.pub"]...)
			d.facts.secrets["k8s-sa"] = s
			return ""
		},
		"somebody changes the key that signs": func() string {
			s := accountSecret(t, first)
			s.Data["sa.key"] = accountSecret(t, next).Data["sa.key"]
			d.facts.secrets["k8s-sa"] = s
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			next := change()
			d.serve(now)
			w, files := d.desired()
			if len(w.problems) > 0 || !w.fresh["apiserver-tls"] || bytes.Equal(files[hostfiles.APIServerCert].Data, before[hostfiles.APIServerCert].Data) {
				t.Errorf("the certificate is not renewed: %+v", w.problems)
			}
			d.has(first)
			if next == "" {
				return
			}
			d.serve(next)
			if w, files = d.desired(); len(w.problems) > 0 || !bytes.Equal(files[hostfiles.ServiceAccPub].Data, d.facts.secrets["k8s-sa"].Data["sa.pub"]) {
				t.Errorf("it does not take them when they are its own: %+v", w.problems)
			}
		})
	}
}

// TestServiceAccountKeysNotYetWritten: a host that is to have keys which it does not find keeps all files of the object, and waits before it tells.
func TestServiceAccountKeysNotYetWritten(t *testing.T) {
	d := controlPlane(t)
	first, next := accountKey(t), accountKey(t)
	d.serve(d.accounts(first))
	before := d.installed()
	due := d.accounts(first, next)
	d.serve(due)
	d.accounts(first) // as this host still sees it
	w, files := d.desired()
	p := w.problems["apiserver-tls"]
	if w.fresh["apiserver-tls"] || !p.passing || !p.usual || !slices.EqualFunc(w.files, d.facts.current.Files, sameFile) {
		t.Errorf("files have changed, or it is told at once: %+v", p)
	}
	if len(files) != len(before) {
		t.Errorf("%d files are left of %d", len(files), len(before))
	}
	d.has(first)
	d.accounts(first, next)
	d.has(first, next)
}

func sameFile(a, b hostdir.File) bool { return a.Path == b.Path && bytes.Equal(a.Data, b.Data) }

// TestServiceAccountKeysMustFit: what is signed is the digest of the public keys. The private one must be that of the first of them, or nothing of the object
// is installed.
func TestServiceAccountKeysMustFit(t *testing.T) {
	first, next := accountKey(t), accountKey(t)
	for name, c := range map[string]struct {
		change func(*corev1.Secret)
		says   []string
	}{
		"of none of them":       {func(s *corev1.Secret) { s.Data["sa.key"] = accountSecret(t, accountKey(t)).Data["sa.key"] }, []string{"SignatureInvalid", "first key"}},
		"of the one to come":    {func(s *corev1.Secret) { s.Data["sa.key"] = accountSecret(t, next).Data["sa.key"] }, []string{"SignatureInvalid", "first key"}},
		"none":                  {func(s *corev1.Secret) { delete(s.Data, "sa.key") }, []string{"SignatureInvalid", "sa.key"}},
		"too large":             {func(s *corev1.Secret) { s.Data["sa.key"] = bytes.Repeat([]byte("x"), maxPrivateKey+1) }, []string{"SignatureInvalid", "more than"}},
		"no public keys":        {func(s *corev1.Secret) { delete(s.Data, "sa.pub") }, []string{"SignatureInvalid", "sa.pub"}},
		"their order":           {func(s *corev1.Secret) { s.Data = accountSecret(t, next, first).Data }, []string{"SignatureInvalid", "sa.pub"}},
		"a key fewer":           {func(s *corev1.Secret) { s.Data = accountSecret(t, first).Data }, []string{"SignatureInvalid", "sa.pub"}},
		"a line behind the key": {func(s *corev1.Secret) { s.Data["sa.key"] = append(s.Data["sa.key"], "# mine\n"...) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := controlPlane(t)
			before := d.installed()
			d.serve(d.accounts(first, next))
			c.change(d.facts.secrets["k8s-sa"])
			if c.says == nil {
				d.has(first, next)
				return
			}
			w, files := d.desired()
			if w.fresh["apiserver-tls"] || !bytes.Equal(files[hostfiles.ServiceAccKey].Data, before[hostfiles.ServiceAccKey].Data) {
				t.Error("they are installed")
			}
			says(t, errors.New(w.problems["apiserver-tls"].text), c.says...)
		})
	}
}

// TestServiceAccountKeysAreRepaired: what somebody has done to the files of the host is no reason to keep them.
func TestServiceAccountKeysAreRepaired(t *testing.T) {
	d := controlPlane(t)
	first := accountKey(t)
	d.serve(d.accounts(first))
	d.installed()
	for i, f := range d.facts.current.Files {
		if f.Path == hostfiles.ServiceAccKey {
			d.facts.current.Files[i].Data = accountSecret(t, accountKey(t)).Data["sa.key"]
		}
	}
	d.has(first)
}

// TestNoServiceAccountKeys: an API server whose document names none gets none, unless its agent is not to bring any.
func TestNoServiceAccountKeys(t *testing.T) {
	d := controlPlane(t)
	signed(t, d.facts.secrets["apiserver-tls"], func(doc *delivery.Document) { doc.Kind = "APIServerCertificate" })
	w, _ := d.desired()
	says(t, errors.New(w.problems["apiserver-tls"].text), "SignatureInvalid", "has not signed its service account keys")
	d.config.APIServer.ServiceAccountSecretName = ""
	var err error
	if d.objects, err = d.config.objects(); err != nil {
		t.Fatal(err)
	}
	w, files := d.desired()
	if _, there := files[hostfiles.ServiceAccPub]; len(w.problems) > 0 || there {
		t.Errorf("%+v, sa.pub is there: %t", w.problems, there)
	}
}
