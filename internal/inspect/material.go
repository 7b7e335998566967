package inspect

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/status"
)

// material is an item with what the report does not hold: certificates and public keys as Go has them.
type material struct {
	Item
	certs   []*x509.Certificate
	publics []crypto.PublicKey // of certificates, requests and public keys
	keys    []crypto.PublicKey // of the private keys; nil for one that cannot be read
	unread  bool               // the file could not be read
}

// read says what some bytes hold. What they hold besides is only counted, because it may be a secret.
func read(name string, data []byte) material {
	m := material{Item: Item{Name: name}}
	text := pki.ReadPEM(data)
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		m.Damage = "it is empty"
	case len(text.Blocks)+len(text.Faults) > 0:
		m.pem(text)
	case looksLikeKubeconfig(data):
		m.Kubeconfig = readKubeconfig(data)
		if m.Kubeconfig == nil {
			m.Damage = "it looks like a kubeconfig, and cannot be read as one"
		}
	default:
		cert, err := x509.ParseCertificate(data) // DER
		if err != nil {
			m.Other = true
			return m
		}
		m.certificate(cert)
	}
	return m
}

// pem takes in what a PEM text holds, and counts what cannot be read of it.
func (m *material) pem(text pki.PEMText) {
	var damage []string
	for _, f := range text.Faults {
		damage = append(damage, f.Error())
	}
	for i := range text.Blocks {
		b := &text.Blocks[i]
		if what := m.block(&b.Block); what != "" {
			damage = append(damage, fmt.Sprintf("block %d (line %d) is %s", b.Number, b.Line, what))
		}
	}
	switch n := len(text.Blocks) + len(text.Faults); {
	case len(damage) > 0:
		m.Damage = fmt.Sprintf("%d of %d PEM blocks cannot be read: %s", len(damage), n, strings.Join(damage, "; "))
	case !text.Strict:
		m.Damage = fmt.Sprintf("not every program finds %s: write them anew, each line ended and at its beginning, in UTF-8 without "+
			"a byte order mark", blocks(n))
	}
	m.Other = m.Damage == "" && len(m.certs)+len(m.publics)+len(m.keys) == 0
}

// blocks says how many PEM blocks there are to find.
func blocks(n int) string {
	if n == 1 {
		return "the PEM block"
	}
	return fmt.Sprintf("all %d PEM blocks", n)
}

// block takes in one PEM block; damage is what is wrong with it. No error is handed on that might quote a key.
func (m *material) block(b *pem.Block) (damage string) {
	switch {
	case b.Type == "CERTIFICATE" || b.Type == "X509 CERTIFICATE":
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return "a malformed certificate"
		}
		m.certificate(cert)
	case b.Type == "CERTIFICATE REQUEST" || b.Type == "NEW CERTIFICATE REQUEST":
		r, err := x509.ParseCertificateRequest(b.Bytes)
		if err != nil {
			return "a malformed certificate signing request"
		}
		m.publics = append(m.publics, r.PublicKey)
		m.Requests = append(m.Requests, Request{
			Subject: status.Printable(r.Subject.String()), DNSNames: allPrintable(r.DNSNames), IPAddresses: addresses(r.IPAddresses), Key: kindOf(r.PublicKey),
		})
	case b.Type == "PUBLIC KEY":
		public, err := x509.ParsePKIXPublicKey(b.Bytes)
		if err != nil {
			return "a malformed public key"
		}
		m.publics = append(m.publics, public)
		m.PublicKeys = append(m.PublicKeys, Key{Kind: kindOf(public)})
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		m.privateKey(b)
	}
	return ""
}

func (m *material) certificate(cert *x509.Certificate) {
	m.certs = append(m.certs, cert)
	m.publics = append(m.publics, cert.PublicKey)
	m.Certificates = append(m.Certificates, describe(cert))
}

func (m *material) privateKey(b *pem.Block) {
	key, public := keyOf(pem.EncodeToMemory(b))
	m.PrivateKeys, m.keys = append(m.PrivateKeys, key), append(m.keys, public)
}

// keyOf describes a private key, and returns its public one: nil where it cannot be read.
func keyOf(text []byte) (Key, crypto.PublicKey) {
	key, err := pki.ParsePrivateKey(text)
	if err == nil {
		return Key{Kind: kindOf(key.Public())}, key.Public()
	}
	if bytes.Contains(text, []byte("ENCRYPTED")) {
		return Key{Problem: "it is encrypted"}, nil
	}
	return Key{Problem: "it cannot be read as an RSA, ECDSA or Ed25519 key"}, nil
}

// kindOf names the kind of a public key.
func kindOf(public crypto.PublicKey) string {
	if spec := pki.SpecOf(public); spec != (pki.KeySpec{}) {
		return spec.String()
	}
	return "of another kind"
}

// match says what each private key of a source fits.
func match(items []material) {
	var beside bool
	for _, m := range items {
		beside = beside || len(m.publics) > 0
	}
	for _, m := range items {
		for i, key := range m.keys {
			if key == nil {
				continue
			}
			for _, other := range items {
				if slices.ContainsFunc(other.publics, func(p crypto.PublicKey) bool { return pki.SamePublicKey(p, key) }) {
					m.PrivateKeys[i].Fits = append(m.PrivateKeys[i].Fits, other.Name)
				}
			}
			m.PrivateKeys[i].Mismatch = beside && len(m.PrivateKeys[i].Fits) == 0
		}
	}
}
