package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// everything keeps what the operator wrote.
const everything = 1<<10 - 1

// evilConfig is a kubeconfig that runs a program.
const evilConfig = "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: {exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}}\n"

// hostiles are attacks on each object of a host, by name.
func hostiles(t testing.TB) map[string]hostile {
	t.Helper()
	evil := newCA(t, at(), "k8s-ca") // of the same name
	pair, key := issue(t, at(), kubeletRequest(), evil)
	out := map[string]hostile{}
	add := func(what string, mod func(*hostile)) {
		for object, of := range []string{"API server", "manager", "custom", "host key"} {
			h := hostile{
				object: uint8(object), keeps: everything, signs: true, ahead: 1, endpoint: "https://k8s:6443", cluster: "k8s", context: "default", user: "kubelet", name: "k8s",
			}
			mod(&h)
			out[of+": "+what] = h
		}
	}
	add("nothing new", func(*hostile) {})
	add("nothing signed", func(h *hostile) { h.signs, h.keeps = false, everything&^(1<<6) })
	add("an envelope without a signature", func(h *hostile) {
		h.signs, h.keeps, h.texts[6] = false, everything&^(1<<6), []byte(`{"keyID":"","document":"","signature":""}`)
	})
	for n, name := range values {
		add("a CA added to "+name, func(h *hostile) { h.signs, h.texts[n] = false, evil.CertPEM() })
		add("a CA added to "+name+", signed", func(h *hostile) { h.texts[n] = evil.CertPEM() })
		add("a CA added to "+name+" once it is signed", func(h *hostile) { h.edits, h.edit = 1<<n, evil.CertPEM() })
		add("a program in "+name, func(h *hostile) { h.keeps, h.texts[n] = everything&^(1<<n), []byte(evilConfig) })
		add("nothing in "+name, func(h *hostile) { h.keeps = everything &^ (1 << n) })
	}
	add("another pair", func(h *hostile) { h.keeps, h.texts[0], h.texts[1] = everything&^3, pair.CertPEM(), key })
	add("another key", func(h *hostile) { h.signs, h.keeps, h.texts[1] = false, everything&^2, key })
	add("another key of tokens", func(h *hostile) { h.signs, h.keeps, h.texts[8] = false, everything&^(1<<8), key })
	add("many keys", func(h *hostile) { h.texts[1] = bytes.Repeat([]byte("-----BEGIN PRIVATE KEY-----\n"), 2000) })
	add("long before", func(h *hostile) { h.ahead = -1 << 31 })
	add("long after", func(h *hostile) { h.ahead = 1<<31 - 1 })
	for _, endpoint := range []string{"http://k8s", "https://a:b@k8s", "https://k8s/?x=: #", "https://[::1]:6443", "https://k8s\"\nusers: []", "unix:///run/x"} {
		add("at "+endpoint, func(h *hostile) { h.endpoint = endpoint })
	}
	for _, name := range []string{"a: b", "- x", "'", `"`, "\\", "&a", "*a", "!!binary x", "null", "{}", "%", "@", "\u2028", "\x00", "a\nusers:"} {
		add("called "+name, func(h *hostile) {
			h.cluster, h.context, h.user, h.namespace, h.serverName = name, name, name, name, name
		})
	}
	for _, name := range []string{"../../etc/cron.d/x", "client-ca.crt", "delivery", "a\x1b[2J\n"} {
		add("a key "+name, func(h *hostile) { h.name, h.texts[7] = name, []byte(evilConfig) })
	}
	return out
}

// FuzzHostile gives an agent whatever a management cluster can, of an API server, of its service account keys, of credentials of the role table and of
// role Custom, and of one whose key never leaves the host; with a signature that fits, and without. It gets through no path, no field and no program of
// others, and nothing that is not signed.
func FuzzHostile(f *testing.F) {
	for _, h := range hostiles(f) {
		x := h.texts
		f.Add(h.object, h.keeps, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], h.signs, h.edits, h.edit,
			h.endpoint, h.serverName, h.cluster, h.context, h.user, h.namespace, h.name, h.ahead)
	}
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, object uint8, keeps int, crt, key, bundle, clients, headers, server, envelope, config, private, public []byte,
		signs bool, edits int, edit []byte, endpoint, serverName, cluster, context, user, namespace, name string, ahead int32,
	) {
		h := hostile{
			object, keeps, [10][]byte{crt, key, bundle, clients, headers, server, envelope, config, private, public}, signs, edits, edit,
			endpoint, serverName, cluster, context, user, namespace, name, ahead,
		}
		v.withstands(t, h)
	})
}

// withstands expects that nothing gets through.
func (v victim) withstands(t *testing.T, h hostile) (installed bool) {
	t.Helper()
	known, o, signed := h.against(v)
	w := v.config.desired(v.now, v.objects, known)
	files := byPath(w.files)
	if h.invalid(v, o) && !hostdir.Equal(v.facts.current.Files, w.files) {
		t.Errorf("nothing new is signed, and files have changed (-want +got):\n%s", cmp.Diff(v.before, files))
	}
	if problem := v.unharmed(files, h, signed); problem != "" {
		t.Error(problem)
	}
	for _, p := range w.problems {
		if problem := h.tellable(p.text); problem != "" {
			t.Errorf("%s: %.200q", problem, p.text)
		}
	}
	if !w.fresh[o.lease] && w.problems[o.lease].text == "" {
		t.Error("its object keeps the files of before, and nothing says why")
	}
	return w.fresh[o.lease]
}

// TestHostileReachesTheHost: of the seeds of the fuzzing some are installed, of each object, so that what they bring there is looked at.
func TestHostileReachesTheHost(t *testing.T) {
	v := newVictim(t)
	for name, h := range hostiles(t) {
		if strings.HasSuffix(name, ": nothing new") && !v.withstands(t, h) {
			t.Errorf("%s: it is not taken", name)
		}
	}
}

// TestHostileRunsNothing lets a whole agent install what a hostile management cluster has signed: what is run is what the host's own configuration names.
func TestHostileRunsNothing(t *testing.T) {
	w := newEnv(t)
	ran := map[string]int{}
	w.run = func(_ context.Context, command []string) (string, error) {
		ran[strings.Join(command, " ")]++
		return "", nil
	}
	w.put(kubeletRequest())
	w.steps()
	pair, key := issue(t, at(), kubeletRequest(), w.ca)
	s := secrets(t, pair, key, w.ca.CertPEM(), w.server.URL)["kubelet-tls"]
	for _, name := range []string{"value", "kubeconfig.files", "command", "components", "reload", "../../etc/cron.d/x"} {
		s.Data[name] = []byte(evilConfig)
	}
	signed(t, s, func(d *delivery.Document) {
		d.Kubeconfig = &delivery.Kubeconfig{Server: w.server.URL, ClusterName: "$(sh)", ContextName: "`sh`", UserName: "; sh", Namespace: "| sh"}
		for name, value := range s.Data {
			if name != consumers.DeliveryKey && name != corev1.TLSPrivateKeyKey {
				d.Contents[name] = delivery.DigestOf(value)
			}
		}
	})
	s.ResourceVersion = "hostile"
	w.store.put(s.Name, s, "")
	w.steps()
	w.is(pair, true, "")
	if diff := cmp.Diff(map[string]int{"reload-kubelet": 1}, ran); diff != "" {
		t.Errorf("it ran (-want +got):\n%s", diff)
	}
}

// FuzzJudge reads whatever an API server may answer to who it takes a credential for: only the right name and groups are good, and what else it says is
// quoted at no length.
func FuzzJudge(f *testing.F) {
	want := pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}}
	for _, body := range []string{
		"", "{}", "<html>", `{"status":{"userInfo":{"username":"system:node:k8s-node1","groups":["system:nodes","system:authenticated"]}}}`,
		`{"status":{"userInfo":{"username":"system:node:k8s-node1"}}}`, `{"status":{"userInfo":{"username":7}}}`,
		`{"status":{"userInfo":{"username":"` + strings.Repeat("x", 5000) + `"}}}`,
	} {
		f.Add(201, []byte(body))
		f.Add(403, []byte(body))
	}
	// What kube-apiserver 1.37.2 answers.
	f.Add(201, []byte(`{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":"2026-11-28T11:29:44Z"},`+
		`"status":{"userInfo":{"username":"system:node:k8s-node1","groups":["system:nodes","system:authenticated"],`+
		`"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=2d09591c5e9573a2fa5a93c8fad6c7e5e248eba934536fe582084bfdcebccf0a"]}}}}`))
	f.Add(401, []byte(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := judge(status, body, want)
		if err != nil {
			if len(err.Error()) > 2048 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		var review struct {
			Status struct {
				UserInfo struct {
					Username string
					Groups   []string
				}
			}
		}
		if status >= 400 || json.Unmarshal(body, &review) != nil || review.Status.UserInfo.Username != want.CommonName ||
			!slices.Contains(review.Status.UserInfo.Groups, want.Organizations[0]) {
			t.Errorf("%d %q is good", status, body)
		}
	})
}
