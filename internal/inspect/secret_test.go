package inspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/test/files"
)

// form is one way to write a private key.
type form struct {
	name string
	text []byte
	raw  []byte // what must never be shown, in whatever encoding
}

// forms are every kind of key in every way that it can be written, readable or not.
func forms(t *testing.T) []form {
	t.Helper()
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	var out []form
	add := func(name, block string, der, raw []byte) {
		out = append(out, form{name, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), raw})
		out = append(out, form{name + ", damaged", pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der[1:]}), raw})
		out = append(out, form{name + ", cut off", out[len(out)-2].text[:len(out[len(out)-2].text)-12], raw})
		out = append(out, form{name + ", called a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), raw})
		out = append(out, form{name + ", called something", pem.EncodeToMemory(&pem.Block{Type: "SOMETHING", Bytes: der}), raw})
		out = append(out, form{name + ", as DER", der, raw})
		out = append(out, form{name + ", with headers", pem.EncodeToMemory(&pem.Block{
			Type: block, Bytes: der, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}), raw})
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	add("RSA, PKCS #1", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small), small.D.Bytes())
	add("RSA, PKCS #8", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(small)), small.D.Bytes())
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		scalar := must(key.Bytes())
		add("ECDSA, SEC 1, "+curve.Params().Name, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)), scalar)
		add("ECDSA, PKCS #8, "+curve.Params().Name, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)), scalar)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add("Ed25519", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed)), ed.Seed())
	add("OpenSSH", "OPENSSH PRIVATE KEY", ed.Seed(), ed.Seed())
	add("encrypted", "ENCRYPTED PRIVATE KEY", ed.Seed(), ed.Seed())
	return out
}

// places are where a key may lie, where it belongs and where it does not.
func places(key []byte) map[string][]byte {
	data := base64.StdEncoding.EncodeToString(key)
	kubeconfig := func(ca, cert, k, server, rest string) []byte {
		return fmt.Appendf(nil, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\n"+
			"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\nusers: [{name: u, user: {client-certificate-data: %s, client-key-data: %s%s}}]\n",
			server, ca, cert, k, rest)
	}
	return map[string][]byte{
		"alone":                   key,
		"after text":              append([]byte("a note\n"), key...),
		"twice":                   append(append([]byte{}, key...), key...),
		"in base64":               []byte(data),
		"kubeconfig":              kubeconfig("", "", data, "https://k8s:6443", ""),
		"kubeconfig, as CA":       kubeconfig(data, "", "", "https://k8s:6443", ""),
		"kubeconfig, as cert":     kubeconfig("", data, "", "https://k8s:6443", ""),
		"kubeconfig, password":    kubeconfig("", "", data, "https://u:"+data+"@k8s:6443/?t="+data+"#"+data, ", token: "+data+", username: u, password: "+data),
		"kubeconfig, bad server":  kubeconfig("", "", "", "https://u:%zz"+data+"@k8s", ""),
		"kubeconfig, wrong type":  []byte("clusters: [{name: " + data + "}]\nusers: {name: u, user: " + data + "}\ncontexts: 3"),
		"kubeconfig, auth plugin": kubeconfig("", "", "", "https://k8s", ", exec: {apiVersion: v1, command: c, args: ["+data+"], env: [{name: K, value: "+data+"}]}"),
	}
}

// leaks says whether a text holds what must not be shown: a line of the PEM text, or the key in base64 or hexadecimal.
func leaks(text string, f form) string {
	head := func(s string) string { return s[:min(len(s), 40)] }
	needles := []string{head(hex.EncodeToString(f.raw)), head(fmt.Sprintf("%d", f.raw))}
	for line := range strings.SplitSeq(string(f.text), "\n") {
		if len(line) >= 40 && !strings.HasPrefix(line, "-----") {
			needles = append(needles, line[:40])
		}
	}
	for cut := range 3 { // base64 of some bytes depends on where they begin
		needles = append(needles, head(base64.StdEncoding.EncodeToString(f.raw[cut:])), head(base64.StdEncoding.EncodeToString(f.text[cut:])))
	}
	for _, n := range needles {
		if strings.Contains(strings.ToLower(text), strings.ToLower(n)) {
			return n
		}
	}
	return ""
}

// TestNoPrivateKeyIsShown tries every kind of key, in every form, at every place, in every output.
func TestNoPrivateKeyIsShown(t *testing.T) {
	all := forms(t)
	for _, f := range all {
		for place, data := range places(f.text) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			seen, err := GatherFiles([]string{path}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := Build(now, seen)
			coded, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				"json": string(coded), "text": r.Text(status.Style{}), "wide": r.Text(status.Style{Wide: true, Width: 80, Color: true}),
			} {
				if n := leaks(text, f); n != "" {
					t.Errorf("%s, %s, %s: %q is in\n%s", f.name, place, name, n, text)
				}
			}
		}
	}
	if len(all) < 60 {
		t.Errorf("there are only %d forms", len(all))
	}
	if leaks(string(all[0].text), all[0]) == "" || leaks(hex.EncodeToString(all[0].raw), all[0]) == "" {
		t.Error("a key that is shown would not be noticed")
	}
}

// TestKeysAreRead says of every kind what it is and what it fits.
func TestKeysAreRead(t *testing.T) {
	for _, f := range forms(t) {
		m := read("k", f.text)
		want := ""
		switch {
		case strings.Contains(f.name, ", with headers") || f.name == "encrypted":
			want = "it is encrypted"
		case strings.Contains(f.name, "damaged") || f.name == "OpenSSH":
			want = "it cannot be read as an RSA, ECDSA or Ed25519 key"
			if strings.HasPrefix(f.name, "encrypted") {
				want = "it is encrypted"
			}
		case strings.Contains(f.name, ", "+"cut off"), strings.Contains(f.name, "called"), strings.Contains(f.name, "as DER"):
			if len(m.PrivateKeys) > 0 {
				t.Errorf("%s is %+v", f.name, m.PrivateKeys)
			}
			continue
		}
		if len(m.PrivateKeys) != 1 || m.PrivateKeys[0].Problem != want || (want == "") != (m.PrivateKeys[0].Kind != "") {
			t.Errorf("%s is %+v", f.name, m.PrivateKeys)
		}
	}
}

func FuzzRead(f *testing.F) {
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		f.Fatal(err)
	}
	text, err := key.Reveal()
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range places(text) {
		f.Add(data)
	}
	for _, data := range files.All(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := read("f", data)
		for i, key := range m.keys {
			if (key == nil) != (m.PrivateKeys[i].Problem != "") {
				t.Errorf("%+v", m.PrivateKeys[i])
			}
		}
		r := Build(now, Inputs{sources: []source{{name: filesName, items: []material{m}}}})
		for line := range strings.SplitSeq(r.Text(status.Style{}), "\n") {
			if status.Printable(line) != line {
				t.Errorf("not printable: %q", line)
			}
		}
	})
}
