package agent

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// TestInspect looks at certificates that differ in one thing from what a host needs.
func TestInspect(t *testing.T) {
	now := at()
	ca, other := newCA(t, now.Add(-24*time.Hour), "k8s-ca"), newCA(t, now.Add(-24*time.Hour), "k8s-ca")
	want := expectation{subject: kubeletRequest().Subject, usages: []pki.Usage{pki.ClientAuth}}
	serving := expectation{subject: pki.Subject{CommonName: "k8s-master"}, usages: []pki.Usage{pki.ServerAuth}, names: []string{"localhost"}}
	server := func(names ...string) pki.CertificateSpec {
		sans, err := pki.NewSANs(names, nil)
		if err != nil {
			t.Fatal(err)
		}
		return pki.CertificateSpec{Subject: serving.subject, SANs: sans, Usages: serving.usages, Key: ecdsa256, Validity: time.Hour}
	}
	for name, c := range map[string]struct {
		request pki.CertificateSpec
		want    expectation
		ca      pki.CA
		bundle  []byte
		at      time.Time
		says    []string
	}{
		"as it should be":        {kubeletRequest(), want, ca, ca.CertPEM(), now, nil},
		"without a bundle":       {kubeletRequest(), want, ca, nil, now, nil},
		"in a bundle of several": {kubeletRequest(), want, ca, slices.Concat(other.CertPEM(), ca.CertPEM()), now, nil},
		"groups in another order": {
			kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"b", "a"} }),
			expectation{subject: pki.Subject{CommonName: want.subject.CommonName, Organizations: []string{"a", "b"}}}, ca, ca.CertPEM(), now, nil,
		},
		"of another CA": {kubeletRequest(), want, other, ca.CertPEM(), now, []string{"does not lead to a CA of its own bundle"}},
		"of another name": {kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "system:node:k8s-node2" }), want, ca, ca.CertPEM(), now,
			[]string{`is for "CN=system:node:k8s-node2, O=system:nodes"`, `and "CN=system:node:k8s-node1, O=system:nodes" is what this host needs`}},
		"of another group": {kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"system:masters"} }), want, ca, ca.CertPEM(), now,
			[]string{"O=system:masters", "it is another's"}},
		"of one more group": {kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"system:nodes", "x"} }), want, ca, ca.CertPEM(), now,
			[]string{"it is another's"}},
		"in its last second": {kubeletRequest(), want, ca, ca.CertPEM(), now.Add(time.Hour - time.Second), nil},
		"expired":            {kubeletRequest(), want, ca, ca.CertPEM(), now.Add(time.Hour), []string{"expired at", "is the operator running"}},
		"not yet valid":      {kubeletRequest(), want, ca, ca.CertPEM(), now.Add(-pki.ClockSkew - time.Second), []string{"is not valid before", "clock of this host"}},
		"in its first one":   {kubeletRequest(), want, ca, ca.CertPEM(), now.Add(-pki.ClockSkew), nil},
		"for servers":        {kubeletRequest(func(r *pki.CertificateSpec) { r.Usages = serving.usages }), want, ca, ca.CertPEM(), now, []string{"is not for ClientAuth"}},
		"no bundle at all":   {kubeletRequest(), want, ca, []byte("none"), now, []string{"the trust bundle"}},
		"serving":            {server("localhost"), serving, ca, ca.CertPEM(), now, nil},
		"under another name": {server("k8s-master"), serving, ca, ca.CertPEM(), now, []string{`does not serve "localhost"`}},
	} {
		t.Run(name, func(t *testing.T) {
			pair, key := issue(t, now, c.request, c.ca)
			err := inspect(c.at, c.want, pair, c.bundle)
			says(t, err, c.says...)
			holdsNoKey(t, err, key)
		})
	}
}

// TestRehearse lets an API server and a client with new files shake hands before either has them.
func TestRehearse(t *testing.T) {
	now := at()
	ca, other := newCA(t, now, "k8s-ca"), newCA(t, now, "k8s-ca")
	sans, err := pki.NewSANs([]string{"k8s-master"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	serving, key := issue(t, now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s-master"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: time.Hour}, ca)
	server, err := tls.X509KeyPair(serving.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	pair, key := issue(t, now, kubeletRequest(), ca)
	client := func(mods ...func(*access)) access {
		a := access{server: "https://k8s-master:6443", ca: ca.CertPEM(), cert: pair.CertPEM(), key: key}
		for _, mod := range mods {
			mod(&a)
		}
		return a
	}
	for name, c := range map[string]struct {
		clients []byte
		client  access
		at      time.Time
		says    []string
	}{
		"they get on":                         {ca.CertPEM(), client(), now, nil},
		"the server does not know the client": {other.CertPEM(), client(), now, []string{"refuse"}},
		"the client does not know the server": {ca.CertPEM(), client(func(a *access) { a.ca = other.CertPEM() }), now, []string{"a client with the new files", "refuse"}},
		"the server is called otherwise":      {ca.CertPEM(), client(func(a *access) { a.server = "https://k8s-other:6443" }), now, []string{"k8s-other"}},
		"later, both have expired":            {ca.CertPEM(), client(), now.Add(2 * time.Hour), []string{"and not now"}},
		"no client CA":                        {[]byte("none"), client(), now, []string{"holds no certificate"}},
		"a key of another":                    {ca.CertPEM(), client(func(a *access) { _, a.key = issue(t, now, kubeletRequest(), ca) }), now, []string{"the client certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := rehearse(c.at, server, c.clients, c.client)
			says(t, err, c.says...)
			holdsNoKey(t, err, key)
		})
	}
}
