package controller_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
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
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// hosts are the consumers of everything that operators write. What a Secret holds is in use on its host at some time
// within 'takes' after it was written, and what it held before until then. After every write, whatever any host may
// be using must be accepted by whatever any other may be using.
type hosts struct {
	t         testing.TB
	ns        string
	authority string
	api       client.Client
	clock     interface{ Now() time.Time }
	ahead     atomic.Int64 // by how much the clock is ahead of the true time, in nanoseconds
	takes     time.Duration

	mu      sync.Mutex
	secrets map[string]*contentsOf       // by name
	records map[string]*authority.Record // by ClusterCA, the latest
	order   map[string]int64             // ClusterCA → resource version of its ledger
	bundles map[string]map[int64]string  // ClusterCA → bundle revision → bundle
	server  map[string]string            // owner of a kubeconfig → its API server
	proxies map[string]string            // owner of a front proxy's certificate → its CA
	headers map[string]string            // API server → the CA of its front proxies
	pairs   map[pair]bool                // what was verified
	dir     string                       // for openssl
	wrong   map[string]bool              // what was reported
	writes  int
	flying  map[string]int // the most objects that were changing over to another key of a ClusterCA at one time
}

// contentsOf is what a Secret has held.
type contentsOf struct {
	owner    string
	versions []version
}

type version struct {
	at    int64 // resource version
	since time.Time
	data  map[string][]byte
	consumers.Claim
}

// observe lets hosts follow from now on. What is there is in use.
func (w *env) observe() *hosts {
	w.t.Helper()
	h := &hosts{
		t: w.t, ns: w.ns, authority: w.authority, api: w.api, clock: w.clock, takes: 10 * time.Minute,
		secrets: map[string]*contentsOf{}, records: map[string]*authority.Record{}, bundles: map[string]map[int64]string{},
		order:  map[string]int64{},
		server: map[string]string{}, proxies: map[string]string{}, headers: map[string]string{},
		pairs: map[pair]bool{}, wrong: map[string]bool{}, flying: map[string]int{}, dir: w.t.TempDir(),
	}
	for _, ns := range []string{w.authority, w.ns} {
		var secrets corev1.SecretList
		if err := w.api.List(w.t.Context(), &secrets, client.InNamespace(ns)); err != nil {
			w.t.Fatal(err)
		}
		for i := range secrets.Items {
			h.wrote(&secrets.Items[i], time.Time{})
		}
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
	patched := r.Method == http.MethodPatch && !strings.Contains(r.URL.Path, "/secrets/") // of a status, mostly
	if r.Method == http.MethodGet || patched || resp.StatusCode > 299 || !strings.Contains(r.URL.Path, "/namespaces/"+h.ns) {
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
	case nil:
		if !strings.Contains(r.URL.Path, "/leases/") {
			h.report("an operator deleted %s", r.URL.Path)
		}
	default:
		return nil
	}
	h.check(r.Method + " " + r.URL.Path)
	return nil
}

// wrote enters what a Secret holds.
func (h *hosts) wrote(s *corev1.Secret, at time.Time) {
	if s.Namespace == h.authority {
		h.ledger(s)
		return
	}
	d := h.secrets[s.Name]
	if d == nil {
		d = &contentsOf{}
		h.secrets[s.Name] = d
	}
	d.owner = s.Annotations[v1alpha1.OwnerAnnotation]
	v := version{at: order(s), since: at, data: s.Data, Claim: consumers.Unsealed(s.Annotations)}
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

// ledger looks at a CA's Secret: its revisions only grow, none stands for two bundles, and no key leaves that is trusted.
func (h *hosts) ledger(s *corev1.Secret) {
	if s.Type != authority.SecretType {
		return
	}
	r, err := authority.Decode(s)
	if err != nil {
		h.report("%v", err)
		return
	}
	ca, l := r.Name, r.Ledger
	if order(s) < h.order[ca] {
		return // the answers to two operators overtook each other
	}
	h.order[ca] = order(s)
	was := h.records[ca]
	h.records[ca] = r
	for number, err := range r.Err {
		h.report("ClusterCA %s: generation %d: %v", ca, number, err)
	}
	if was != nil {
		if l.BundleRevision < was.Ledger.BundleRevision {
			h.report("ClusterCA %s: the bundle's revision went back from %d to %d", ca, was.Ledger.BundleRevision, l.BundleRevision)
		}
		for number, pair := range was.CAs {
			if !l.Names(number) {
				h.deleted(pair.Cert, number)
			}
		}
	}
	if slices.ContainsFunc(l.Generations, func(g plan.Generation) bool { return g.Parent.Name != "" }) {
		return // its bundle is that of its parent
	}
	if h.bundles[ca] == nil {
		h.bundles[ca] = map[int64]string{}
	}
	var roots []*x509.Certificate
	for _, g := range l.Published() {
		roots = append(roots, r.CAs[g.Number].Anchor())
	}
	bundle := fingerprints(pki.EncodeCertificates(roots...))
	if other, ok := h.bundles[ca][l.BundleRevision]; ok && other != bundle {
		h.report("ClusterCA %s: revision %d stands for two bundles", ca, l.BundleRevision)
	}
	h.bundles[ca][l.BundleRevision] = bundle
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
func (h *hosts) deleted(cert *x509.Certificate, number int32) {
	key := pki.FingerprintOf(cert)
	for name, d := range h.secrets {
		for _, v := range h.inUse(d) {
			for _, k := range []string{"ca.crt", "client-ca.crt", "requestheader-ca.crt"} {
				if strings.Contains(fingerprints(v.data[k]), key) {
					h.report("the key of generation %d was deleted, and what Secret %s held %s ago trusts it in %s", number, name, h.now().Sub(v.since), k)
				}
			}
		}
	}
}

// inUse are the versions of a Secret that may be in use now.
func (h *hosts) inUse(d *contentsOf) []version {
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
