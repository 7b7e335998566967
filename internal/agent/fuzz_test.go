package agent

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// hostile is what a management cluster in other hands may send. With the delivery key in those hands too, it may say anything under a
// signature that fits.
type hostile struct {
	crt, key, ca, server, envelope            []byte
	endpoint, cluster, context, user, in, why string
	signs                                     bool
}

// secret is the Secret of a kubelet's credential.
func (h hostile) secret() *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "kubelet-tls", Annotations: map[string]string{"clusterpki.io/claim": h.why}},
		Data: map[string][]byte{
			"tls.crt": h.crt, "tls.key": h.key, "ca.crt": h.ca, "apiserver-ca.crt": h.server, consumers.DeliveryKey: h.envelope,
			"value": h.envelope, "kubeconfig.files": h.envelope, h.why: h.envelope,
		},
	}
	if !h.signs {
		return s
	}
	d := delivery.Document{
		Statement: delivery.Statement{
			Kind: "NodeCredential", Namespace: "prod", Name: "kubelet", UID: "uid", Host: "k8s-node1", Contents: map[string]string{},
			Trust: map[string]map[string]int64{"ca.crt": {h.why: 1}, "apiserver-ca.crt": {h.why: 9}, h.why: {"k8s": 9}},
			Kubeconfig: &delivery.Kubeconfig{
				Server: h.endpoint, ClusterName: h.cluster, ContextName: h.context, UserName: h.user, Namespace: h.in,
			},
		},
		Time: at(),
	}
	for key, value := range s.Data {
		if key != consumers.DeliveryKey {
			d.Contents[key] = delivery.DigestOf(value)
		}
	}
	if text, err := delivery.Sign(operatorKey, d); err == nil {
		s.Data[consumers.DeliveryKey] = text
	}
	return s
}

// harmless says, of the files that a host would get, what must not be there.
func harmless(files []hostdir.File, h hostile) (problem string) {
	may := []string{"kubelet.conf", "kubelet.embedded.conf", "pki/ca.crt", "pki/client-ca.crt", "pki/kubelet-client.crt", "pki/kubelet-client.key"}
	for _, f := range files {
		switch {
		case !slices.Contains(may, f.Path):
			return "it gets " + f.Path
		case !h.signs:
			return "nothing is signed, and it gets " + f.Path
		case !strings.HasSuffix(f.Path, ".conf"):
			continue
		}
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
		if err := yaml.UnmarshalStrict(f.Data, &config); err != nil {
			return f.Path + " cannot be read: " + err.Error()
		}
		if len(config.Clusters) != 1 || len(config.Users) != 1 || len(config.Contexts) != 1 {
			return f.Path + " has more than one of a kind"
		}
		if server := config.Clusters[0].Cluster["server"]; !strings.HasPrefix(server, "https://") || server != h.endpoint {
			return f.Path + " leads to " + server
		}
		for field := range config.Users[0].User {
			if !strings.HasPrefix(field, "client-certificate") && !strings.HasPrefix(field, "client-key") {
				return f.Path + " has a user with " + field
			}
		}
	}
	return ""
}

// FuzzHostile gives an agent whatever a management cluster can, with a signature that fits and without: it gets through no path, no field and
// no program of others, and nothing that is not signed.
func FuzzHostile(f *testing.F) {
	ca, err := pki.SelfSign(at(), pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s-ca"}, Key: ecdsa256, Validity: 8760 * 3600e9})
	if err != nil {
		f.Fatal(err)
	}
	pair, err := pki.Issue(at(), kubeletRequest(), ca)
	if err != nil {
		f.Fatal(err)
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		f.Fatal(err)
	}
	exec := []byte("apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: {exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}}\n")
	good := hostile{pair.CertPEM(), key, ca.CertPEM(), ca.CertPEM(), exec, "https://k8s:6443", "k8s", "default", "kubelet", "", "k8s", true}
	add := func(mod func(*hostile)) {
		h := good
		mod(&h)
		f.Add(h.crt, h.key, h.ca, h.server, h.envelope, h.endpoint, h.cluster, h.context, h.user, h.in, h.why, h.signs)
	}
	add(func(*hostile) {})
	add(func(h *hostile) { h.signs = false })
	add(func(h *hostile) { h.signs, h.envelope = false, []byte(`{"keyID":"","document":"","signature":""}`) })
	for _, endpoint := range []string{"http://k8s", "https://a:b@k8s", "https://k8s/?x=: #", "https://[::1]:6443", "https://k8s\"\nusers: []", "unix:///run/x"} {
		add(func(h *hostile) { h.endpoint = endpoint })
	}
	for _, name := range []string{"a: b", "- x", "'", `"`, "\\", "&a", "*a", "!!binary x", "null", "{}", "%", "@", "\u2028", "\x00", "a\nusers:"} {
		add(func(h *hostile) { h.cluster, h.context, h.user, h.in = name, name, name, name })
	}
	add(func(h *hostile) { h.why = "../../etc/cron.d/x" })
	add(func(h *hostile) { h.why = "client-ca.crt" })
	add(func(h *hostile) { h.key = bytes.Repeat([]byte("-----BEGIN PRIVATE KEY-----\n"), 2000) })
	add(func(h *hostile) { h.ca, h.server = nil, exec })
	c := kubeletConfig("/srv")
	objects, err := c.objects()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, crt, key, ca, server, envelope []byte, endpoint, cluster, context, user, in, why string, signs bool) {
		h := hostile{crt, key, ca, server, envelope, endpoint, cluster, context, user, in, why, signs}
		known := facts{
			secrets: map[string]*corev1.Secret{"kubelet-tls": h.secret()}, unread: map[string]string{}, keys: map[string][]byte{}, refused: map[string]string{},
			states: map[string]ack.State{},
		}
		w := c.desired(at(), objects, known)
		if problem := harmless(w.files, h); problem != "" {
			t.Error(problem)
		}
		for _, p := range w.problems {
			if report, err := (ack.Report{Problem: p.text}).Text(); err != nil || strings.Contains(report, "PRIVATE KEY-----") {
				t.Errorf("its report is %q, %v", report, err)
			}
		}
		if len(w.files) == 0 && len(w.problems) != 1 {
			t.Errorf("it gets nothing, and says %v", slices.Collect(maps.Values(w.problems)))
		}
	})
}

// TestHostileSeedsReachTheHost: the seeds of the fuzzing are not all refused at the door.
func TestHostileSeedsReachTheHost(t *testing.T) {
	d := newFixture(t)
	s := d.facts.secrets["kubelet-tls"].Data
	h := hostile{s["tls.crt"], s["tls.key"], s["ca.crt"], s["apiserver-ca.crt"], nil, "https://k8s:6443", "a: b", "- x", `"`, "null", "k8s", true}
	d.facts.secrets["kubelet-tls"] = h.secret()
	w, _ := d.desired()
	if !w.fresh["kubelet-tls"] {
		t.Errorf("%+v", w.problems)
	}
}
