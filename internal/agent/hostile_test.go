package agent

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/keyutil"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// victim is a host that has one object of each sort, all installed: an API server with its service account keys, a credential of the role table, one of
// role Custom, and one whose key never leaves the host.
type victim struct {
	*fixture
	before map[string]hostdir.File
}

func newVictim(t testing.TB) victim {
	t.Helper()
	d := controlPlane(t)
	d.config.Credentials = append(d.config.Credentials,
		Credential{Name: "ops", Role: "Custom", SecretName: "ops-tls", Kubeconfig: true, Custom: &Custom{CommonName: "ops", Usages: []string{"ClientAuth"}}},
		Credential{Name: "proxy", Role: "KubeProxy", SecretName: "proxy-tls", Kubeconfig: true, KeySource: keySourceHost},
	)
	d.config.complete()
	if problems := d.config.problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	var err error
	if d.objects, err = d.config.objects(); err != nil {
		t.Fatal(err)
	}
	d.issue("ops", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "ops"} }))
	d.facts.keys["proxy-tls"] = d.issue("proxy", kubeletRequest(func(r *pki.CertificateSpec) { r.Subject = pki.Subject{CommonName: "system:kube-proxy"} }))
	delete(d.facts.secrets["proxy-tls"].Data, corev1.TLSPrivateKeyKey)
	v := victim{d, d.installed()}
	if w, files := d.desired(); len(w.problems) > 0 || len(files) < 15 {
		t.Fatalf("%+v: %v", w.problems, slices.Sorted(maps.Keys(files)))
	}
	return v
}

// values are the keys of Secrets that a hostile management cluster writes, in the order of the bits of hostile.keeps and hostile.edits: those of
// the service account keys last.
var values = []string{
	"tls.crt", "tls.key", "ca.crt", "client-ca.crt", "requestheader-ca.crt", "apiserver-ca.crt", consumers.DeliveryKey, "kubeconfig.files", "sa.key", "sa.pub",
}

// hostile is what a management cluster in other hands sends of one object, with the object's own values at hand. With the delivery key in those
// hands too, it may say anything under a signature that fits.
type hostile struct {
	object uint8 // whose Secrets
	keeps  int   // the values that begin with those that the operator wrote
	// texts are the values, or what follows on those.
	texts [10][]byte
	signs bool
	edits int    // the values that are changed once they are signed
	edit  []byte // by what is added to them
	// words of the document, names, and a key of the Secret.
	endpoint, serverName, cluster, context, user, namespace, name string
	ahead                                                         int32 // seconds from what is installed to what is signed
}

func (h hostile) has(bits, i int) bool { return bits>>i&1 == 1 }

// against are the facts of a host to which it is sent, whose object it is, and the digests of what is signed.
func (h hostile) against(v victim) (facts, object, map[string]bool) {
	o := v.objects[int(h.object)%len(v.objects)]
	known := v.facts
	known.secrets = maps.Clone(known.secrets)
	signed := map[string]bool{}
	for i, name := range o.secrets {
		known.secrets[name] = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: h.name, Annotations: map[string]string{"clusterpki.io/claim": h.name}}, Data: map[string][]byte{h.name: h.texts[7]},
		}
		for n, key := range values {
			if good := v.facts.secrets[name].Data[key]; strings.HasPrefix(key, "sa.") == (i == 1) && (good != nil || len(h.texts[n]) > 0) {
				known.secrets[name].Data[key] = slices.Concat(map[bool][]byte{true: good}[h.has(h.keeps, n)], h.texts[n])
			}
		}
	}
	if h.signs {
		h.sign(v, o, known.secrets, signed)
	}
	for n, key := range values {
		for _, name := range o.secrets {
			if _, there := known.secrets[name].Data[key]; there && h.has(h.edits, n) {
				known.secrets[name].Data[key] = slices.Concat(known.secrets[name].Data[key], h.edit)
			}
		}
	}
	return known, o, signed
}

// sign signs what is in the Secrets of an object, and notes the digests.
func (h hostile) sign(v victim, o object, secrets map[string]*corev1.Secret, signed map[string]bool) {
	s := secrets[o.secrets[0]]
	d := delivery.Document{
		Statement: delivery.Statement{
			Kind: o.subject.Kind, Namespace: o.subject.Namespace, Name: o.subject.Name, UID: "uid", Host: o.subject.Host, Contents: map[string]string{},
			Trust: map[string]map[string]int64{"ca.crt": {h.name: 1, "k8s": 9}, "client-ca.crt": {"k8s": 9}, "apiserver-ca.crt": {"k8s": 9}, h.name: {"k8s": 9}},
			Kubeconfig: &delivery.Kubeconfig{
				Server: h.endpoint, TLSServerName: h.serverName, ClusterName: h.cluster, ContextName: h.context, UserName: h.user, Namespace: h.namespace,
			},
		},
		Time: v.facts.latest[o.lease].Time.Add(time.Duration(h.ahead) * time.Second),
	}
	for key, value := range s.Data {
		if key != consumers.DeliveryKey && key != corev1.TLSPrivateKeyKey {
			d.Contents[key] = delivery.DigestOf(value)
		}
	}
	if len(o.secrets) > 1 {
		d.ServiceAccounts = &delivery.ServiceAccounts{SHA256: delivery.DigestOf(secrets[o.secrets[1]].Data["sa.pub"])}
		signed[d.ServiceAccounts.SHA256] = true
	}
	text, err := delivery.Sign(operatorKey, d)
	if err != nil {
		return
	}
	s.Data[consumers.DeliveryKey] = text
	for _, digest := range d.Contents {
		signed[digest] = true
	}
}

// invalid says whether nothing in the Secrets may be installed that was not before: nothing is signed, or something else, or what is older.
func (h hostile) invalid(v victim, o object) bool {
	for n, key := range values {
		switch {
		case len(h.edit) == 0 || !h.has(h.edits, n) || key == corev1.TLSPrivateKeyKey || key == "sa.key" || key == "sa.pub": // see unharmed
		case key == consumers.DeliveryKey && len(bytes.TrimSpace(h.edit)) == 0: // it says the same
		case slices.ContainsFunc(o.secrets, func(name string) bool { return v.facts.secrets[name].Data[key] != nil }):
			return true
		}
	}
	return !h.signs || h.ahead <= 0
}

// unharmed says what is wrong with the files that a host would get, "" where nothing is. Where nothing new is signed, they must be those of before.
func (v victim) unharmed(files map[string]hostdir.File, h hostile, signed map[string]bool) string {
	for _, f := range v.before {
		signed[delivery.DigestOf(f.Data)] = true
	}
	for name, f := range files {
		was, known := v.before[name]
		problem := ""
		switch {
		case bytes.Equal(f.Data, was.Data) && f.Mode == was.Mode && !strings.HasSuffix(name, ".key"): // a key may have lost its certificate
		case !known:
			problem = "has no place on this host"
		case f.Mode != was.Mode:
			problem = fmt.Sprintf("has mode %v", f.Mode)
		case strings.HasSuffix(name, ".key"):
			problem = keyProblem(f.Data, files[strings.TrimSuffix(name, ".key")+".crt"].Data, files["pki/sa.pub"].Data, name)
		case strings.HasSuffix(name, ".conf"):
			problem = v.configProblem(f.Data, h, signed)
		case !signed[delivery.DigestOf(f.Data)]:
			problem = "was not signed"
		}
		if problem != "" {
			return name + " " + problem
		}
	}
	return ""
}

// keyProblem is what is wrong with a private key: it is not signed, so it must be that of a certificate or public key that is, and nothing beside.
func keyProblem(text, cert, tokens []byte, name string) string {
	key, err := pki.ParsePrivateKey(text)
	if err != nil {
		return "is no key"
	}
	if alone, err := key.Reveal(); err != nil || !bytes.Equal(alone, text) {
		return "holds more than a key"
	}
	if name == "pki/sa.key" {
		trusted, err := keyutil.ParsePublicKeysPEM(tokens)
		if err != nil || !pki.SamePublicKey(trusted[0], key.Public()) {
			return "is not of the first of the public keys"
		}
		return ""
	}
	if _, err := pki.ParseLeaf(cert, text); err != nil {
		return "is of another certificate"
	}
	return ""
}

// configProblem is what is wrong with a kubeconfig: there is nothing in it but one cluster, one user and one context, a certificate and its key.
func (v victim) configProblem(text []byte, h hostile, signed map[string]bool) string {
	var config struct {
		APIVersion, Kind string
		CurrentContext   string `json:"current-context"`
		Clusters         []struct {
			Name    string
			Cluster map[string]string
		}
		Contexts []struct {
			Name    string
			Context map[string]string
		}
		Users []struct {
			Name string
			User map[string]string
		}
	}
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return "cannot be read: " + err.Error()
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 || len(config.Contexts) != 1 {
		return "has more than one of a kind"
	}
	fields := maps.Clone(config.Clusters[0].Cluster)
	maps.Copy(fields, config.Users[0].User)
	for field, value := range fields {
		path, below := strings.CutPrefix(value, v.config.Directory+"/")
		_, ours := v.before[path]
		data, err := base64.StdEncoding.DecodeString(value)
		good := false
		switch field {
		case "server":
			good = value == server || value == h.endpoint && strings.HasPrefix(value, "https://")
		case "tls-server-name":
			good = value == h.serverName
		case "certificate-authority", "client-certificate", "client-key":
			good = below && ours
		case "certificate-authority-data", "client-certificate-data":
			good = err == nil && signed[delivery.DigestOf(data)]
		case "client-key-data":
			good = err == nil && keyProblem(data, certificateIn(fields), nil, "") == ""
		}
		if !good {
			return fmt.Sprintf("says %s: %q", field, value)
		}
	}
	return ""
}

func certificateIn(fields map[string]string) []byte {
	data, err := base64.StdEncoding.DecodeString(fields["client-certificate-data"])
	if err != nil {
		return nil
	}
	return data
}

// tellable says what is wrong with a problem as it gets into a Lease and from there into a status: it is one line of bounded length, and holds no key.
func (h hostile) tellable(problem string) string {
	text, err := ack.Report{Problem: problem}.Text()
	if err != nil {
		return err.Error()
	}
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	if got := ack.Of(leaseSaying(text)).Problem; len(got) > ack.MaxProblem || strings.ContainsFunc(got, bad) {
		return "it is not one short line"
	}
	for _, key := range [][]byte{h.texts[1], h.texts[8]} {
		if _, err := pki.ParsePrivateKey(key); err != nil {
			continue
		}
		for line := range strings.Lines(string(key)) {
			if line = strings.TrimSpace(line); len(line) > 40 && strings.Contains(problem, line) {
				return "it quotes a private key"
			}
		}
	}
	return ""
}

func leaseSaying(report string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.ReportAnnotation: report}}}
}
