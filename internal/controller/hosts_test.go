package controller_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// hosts are the consumers of everything that operators write. What a Secret holds is in use on its host at some time
// within 'takes' after it was written, and what it held before until then. After every write, whatever any host may
// be using must be accepted by whatever any other may be using.
type hosts struct {
	t     testing.TB
	ns    string
	api   client.Client
	clock interface{ Now() time.Time }
	ahead atomic.Int64 // by how much the clock is ahead of the true time, in nanoseconds
	takes time.Duration

	mu      sync.Mutex
	secrets map[string]*delivery        // by name
	keys    map[string]string           // generation Secrets: fingerprint by name
	ledgers map[string]plan.Ledger      // by ClusterCA, the latest
	order   map[string]int64            // ClusterCA → resource version of its ledger
	bundles map[string]map[int64]string // ClusterCA → trust revision → bundle
	server  map[string]string           // owner of a kubeconfig → its API server
	proxies map[string]string           // owner of a front proxy's certificate → its CA
	headers map[string]string           // API server → the CA of its front proxies
	pairs   map[pair]bool               // what was verified
	dir     string                      // for openssl
	wrong   map[string]bool             // what was reported
	writes  int
	flying  map[string]int // the most objects that were changing over to another key of a ClusterCA at one time
}

// delivery is what a Secret has held.
type delivery struct {
	owner    string
	versions []version
}

type version struct {
	at    int64 // resource version
	since time.Time
	data  map[string][]byte
	record
}

// record is what the operator notes of a Secret's contents.
type record struct {
	Trust      map[string]map[string]int64 `json:"trust"`
	Issuer     string                      `json:"issuer"`
	Generation int32                       `json:"generation"`
}

// observe lets hosts follow from now on. What is there is in use.
func (w *world) observe() *hosts {
	w.t.Helper()
	h := &hosts{
		t: w.t, ns: w.ns, api: w.api, clock: w.clock, takes: 10 * time.Minute,
		secrets: map[string]*delivery{}, keys: map[string]string{}, ledgers: map[string]plan.Ledger{}, bundles: map[string]map[int64]string{},
		order:  map[string]int64{},
		server: map[string]string{}, proxies: map[string]string{}, headers: map[string]string{},
		pairs: map[pair]bool{}, wrong: map[string]bool{}, flying: map[string]int{}, dir: w.t.TempDir(),
	}
	var secrets corev1.SecretList
	var bundles corev1.ConfigMapList
	for _, l := range []client.ObjectList{&secrets, &bundles} {
		if err := w.api.List(w.t.Context(), l, client.InNamespace(w.ns)); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := range secrets.Items {
		h.wrote(&secrets.Items[i], time.Time{})
	}
	for i := range bundles.Items {
		h.ledger(&bundles.Items[i])
	}
	h.check("at the beginning")
	w.hosts.Store(h)
	w.t.Cleanup(func() {
		for _, o := range append(w.others, w) {
			o.stop()
		}
		h.openssl()
	})
	return h
}

var decoder = serializer.NewCodecFactory(controller.Scheme()).UniversalDeserializer()

// saw looks at a request of an operator that succeeded, before the operator learns of it.
func (h *hosts) saw(r *http.Request, resp *http.Response) error {
	if r.Method == http.MethodGet || r.Method == http.MethodPatch || resp.StatusCode > 299 || !strings.Contains(r.URL.Path, "/namespaces/"+h.ns+"/") {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var o runtime.Object
	if r.Method != http.MethodDelete {
		if o, _, err = decoder.Decode(body, nil, nil); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes++
	switch o := o.(type) {
	case *corev1.Secret:
		h.wrote(o, h.now())
	case *corev1.ConfigMap:
		h.ledger(o)
	case nil:
		h.deleted(path.Base(r.URL.Path))
	default:
		return nil
	}
	h.check(r.Method + " " + r.URL.Path)
	return nil
}

// wrote enters what a Secret holds.
func (h *hosts) wrote(s *corev1.Secret, at time.Time) {
	if s.Annotations[v1alpha1.GenerationAnnotation] != "" {
		if certs, err := pki.ParseCertificates(s.Data["tls.crt"]); err == nil {
			h.keys[s.Name] = pki.FingerprintOf(certs[0])
		}
		return
	}
	d := h.secrets[s.Name]
	if d == nil {
		d = &delivery{}
		h.secrets[s.Name] = d
	}
	d.owner = s.Annotations[v1alpha1.OwnerAnnotation]
	v := version{at: order(s), since: at, data: s.Data}
	if text := s.Annotations[v1alpha1.HoldsAnnotation]; text != "" {
		if err := json.Unmarshal([]byte(text), &v.record); err != nil {
			h.report("Secret %s: %v", s.Name, err)
		}
	}
	n := len(d.versions)
	for n > 0 && d.versions[n-1].at > v.at { // the answers to two operators may overtake each other
		n--
	}
	if n > 0 {
		h.compare(s.Name, d.versions[n-1], v)
	}
	d.versions = slices.Insert(d.versions, n, v)
}

// compare says whether a Secret went back to an older bundle or key.
func (h *hosts) compare(secret string, was, now version) {
	if now.Issuer == was.Issuer && now.Generation < was.Generation {
		h.report("Secret %s: it went back from generation %d of %s to %d", secret, was.Generation, was.Issuer, now.Generation)
	}
	for key, of := range was.Trust {
		for ca, revision := range of {
			if r, ok := now.Trust[key][ca]; ok && r < revision {
				h.report("Secret %s: %s went back from revision %d of %s to %d", secret, key, revision, ca, r)
			}
		}
	}
}

// order is an object's resource version. They grow with time.
func order(o client.Object) int64 {
	n, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// ledger looks at a trust ConfigMap: its revisions only grow, and none stands for two bundles.
func (h *hosts) ledger(cm *corev1.ConfigMap) {
	l, err := plan.ParseLedger(cm.Data["ledger"])
	if err != nil {
		return
	}
	ca := strings.TrimSuffix(cm.Name, "-trust")
	if order(cm) < h.order[ca] {
		return // the answers to two operators overtook each other
	}
	h.order[ca] = order(cm)
	was := h.ledgers[ca]
	if l.TrustRevision < was.TrustRevision {
		h.report("ClusterCA %s: the trust revision went back from %d to %d", ca, was.TrustRevision, l.TrustRevision)
	}
	h.ledgers[ca] = l
	if slices.ContainsFunc(l.Generations, func(g plan.Generation) bool { return g.Parent.Name != "" }) {
		return // its bundle is that of the CA above
	}
	if h.bundles[ca] == nil {
		h.bundles[ca] = map[int64]string{}
	}
	held := fingerprints([]byte(cm.Data["ca.crt"]))
	roots, err := pki.ParseCertificates([]byte(cm.Data["ca.crt"]))
	if err != nil {
		h.report("ClusterCA %s: its bundle: %v", ca, err)
	}
	if other, ok := h.bundles[ca][l.TrustRevision]; ok && other != held {
		h.report("ClusterCA %s: trust revision %d stands for two bundles", ca, l.TrustRevision)
	}
	h.bundles[ca][l.TrustRevision] = held
	for _, g := range l.Published() {
		if !slices.ContainsFunc(roots, func(c *x509.Certificate) bool { return pki.IdentityOf(c) == g.Anchor }) {
			h.report("ClusterCA %s: generation %d is %s and not in the bundle", ca, g.Number, g.State)
		}
	}
}

// fingerprints are those of a bundle, in order of size, because the order of a bundle means nothing.
func fingerprints(bundle []byte) string {
	certs, err := pki.ParseCertificates(bundle)
	if err != nil {
		return ""
	}
	var out []string
	for _, c := range certs {
		out = append(out, pki.FingerprintOf(c))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// deleted looks at a key that an operator deleted: nothing may trust it any more.
func (h *hosts) deleted(secret string) {
	key, ok := h.keys[secret]
	if !ok {
		h.report("an operator deleted Secret %s, which is no generation", secret)
		return
	}
	delete(h.keys, secret)
	if slices.Contains(slices.Collect(maps.Values(h.keys)), key) {
		return // a copy is left
	}
	for name, d := range h.secrets {
		for _, v := range h.inUse(d) {
			for _, k := range []string{"ca.crt", "client-ca.crt", "requestheader-ca.crt"} {
				if strings.Contains(fingerprints(v.data[k]), key) {
					h.report("the key in Secret %s was deleted, and what Secret %s held %s ago trusts it in %s", secret, name, h.now().Sub(v.since), k)
				}
			}
		}
	}
}

// inUse are the versions of a Secret that may be in use now.
func (h *hosts) inUse(d *delivery) []version {
	now := h.now()
	for i := len(d.versions) - 1; i > 0; i-- {
		if !now.Before(d.versions[i].since.Add(h.takes)) {
			return d.versions[i:]
		}
	}
	return d.versions
}

// now is the true time.
func (h *hosts) now() time.Time { return h.clock.Now().Add(-time.Duration(h.ahead.Load())) }

// report says once what is wrong.
func (h *hosts) report(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !h.wrong[text] {
		h.wrong[text] = true
		h.t.Error(text)
	}
}
