package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// MaxCSRBytes bounds the text of a certificate signing request: one with an RSA key of 4096 bits and many names has a
// quarter of it.
const MaxCSRBytes = 16 << 10

// CSR is a certificate signing request (PKCS #10, RFC 2986): a public key, whose private half was at hand when it was
// made, and what is asked for it.
type CSR struct {
	PublicKey crypto.PublicKey
	asked     *x509.CertificateRequest
}

// ParseCSR reads a certificate signing request and checks its signature. There must be one PEM block; text may stand
// around it. The key must be one that GenerateKey can make. Its errors never quote the text, which may hold what was pasted by
// mistake.
func ParseCSR(text []byte) (CSR, error) {
	if len(text) > MaxCSRBytes {
		return CSR{}, fmt.Errorf("a certificate signing request must be at most %d bytes long, not %d", MaxCSRBytes, len(text))
	}
	read := ReadPEM(text)
	if strings.Contains(plainText(text), "PRIVATE KEY") {
		return CSR{}, errors.New("it holds a private key" + where(read) + ", which is known now to everybody who can read it: " +
			"make another key, and give only the certificate signing request of that one")
	}
	if err := read.FirstFault(); err != nil {
		return CSR{}, err
	}
	if len(read.Blocks) != 1 {
		return CSR{}, fmt.Errorf("it must hold one PEM block, CERTIFICATE REQUEST, and holds %d%s: make it with `openssl req -new`",
			len(read.Blocks), because(read.empty))
	}
	block := read.Blocks[0]
	if len(block.Headers) > 0 || block.Type != csrBlock && block.Type != "NEW "+csrBlock {
		return CSR{}, fmt.Errorf("it must be one PEM block, CERTIFICATE REQUEST, without headers, and is %s: make it with `openssl req -new`",
			knownKind(block.Type))
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return CSR{}, errors.New("it is a malformed certificate signing request: make it with `openssl req -new`") // the cause would quote it
	}
	// Before the signature is verified: that may take long with a key of any size.
	if err := SpecOf(asked.PublicKey).Validate(); err != nil {
		return CSR{}, fmt.Errorf("its key cannot be used: %w", err)
	}
	if asked.CheckSignature() != nil {
		return CSR{}, errors.New("its signature is not by its own key: make it anew, with that key")
	}
	return CSR{PublicKey: asked.PublicKey, asked: asked}, nil
}

const csrBlock = "CERTIFICATE REQUEST"

// where says which block is a private key, if one is.
func where(text PEMText) string {
	for _, b := range text.Blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return fmt.Sprintf(" (block %d, line %d)", b.Number, b.Line)
		}
	}
	return ""
}

// NewCSR makes a certificate signing request for r with a key: of r's subject, SANs and usages.
func NewCSR(r CertificateSpec, key PrivateKey) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := r.rightKey(key.Public()); err != nil {
		return nil, err
	}
	tmpl := &x509.CertificateRequest{Subject: r.Subject.Name(), DNSNames: r.SANs.DNSNames}
	for _, addr := range r.SANs.IPAddresses {
		tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(addr.AsSlice()))
	}
	if len(r.Usages) > 0 {
		var ids []asn1.ObjectIdentifier
		for _, u := range sorted(r.Usages) {
			ids = append(ids, usageID[u])
		}
		value, err := asn1.Marshal(ids)
		if err != nil {
			return nil, fmt.Errorf("encode the key usages: %w", err)
		}
		tmpl.ExtraExtensions = []pkix.Extension{{Id: extKeyUsageID, Value: value}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key.Signer())
	if err != nil {
		return nil, fmt.Errorf("sign the request for %q: %w", r.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: csrBlock, Bytes: der}), nil
}

// Identifiers of RFC 5280 §4.1.2.4 and §4.2.1.
var (
	commonNameID       = asn1.ObjectIdentifier{2, 5, 4, 3}
	organizationID     = asn1.ObjectIdentifier{2, 5, 4, 10}
	subjectKeyIDID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	keyUsageID         = asn1.ObjectIdentifier{2, 5, 29, 15}
	subjectAltNameID   = asn1.ObjectIdentifier{2, 5, 29, 17}
	basicConstraintsID = asn1.ObjectIdentifier{2, 5, 29, 19}
	extKeyUsageID      = asn1.ObjectIdentifier{2, 5, 29, 37}

	usageID = map[Usage]asn1.ObjectIdentifier{
		ServerAuth: {1, 3, 6, 1, 5, 5, 7, 3, 1}, ClientAuth: {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
)

// Refuses says why what is asked for by a CSR is not r, and what to change; nil where r may be signed for its key. A CSR
// must be of r's subject and kind of key. Of SANs and key usages it may leave some or all out, and ask for no others. The
// certificate follows from r alone, but whoever asks for something else would not get what he expects. What is asked for
// is not quoted: it may be of any length, and of anybody's making.
func (r CertificateSpec) Refuses(c CSR) error {
	if !isSubject(c.asked.Subject, r.Subject) {
		return fmt.Errorf("its subject must be %q and nothing else: make it with `openssl req -new -subj '%s'`", r.Subject, r.Subject.forOpenSSL())
	}
	if err := r.rightKey(c.PublicKey); err != nil {
		return err
	}
	for _, e := range c.asked.Extensions {
		if err := r.refusesExtension(e, c.asked); err != nil {
			return err
		}
	}
	return nil
}

func (r CertificateSpec) rightKey(public crypto.PublicKey) error {
	if spec := SpecOf(public); spec != r.Key {
		return fmt.Errorf("its key must be %s, not %s: make a key of that kind", r.Key, spec)
	}
	return nil
}

// isSubject says whether a name is one CN and any number of O, those of s, and has nothing else.
func isSubject(name pkix.Name, s Subject) bool {
	commonNames := 0
	for _, part := range name.Names {
		switch {
		case part.Type.Equal(commonNameID):
			commonNames++
		case !part.Type.Equal(organizationID):
			return false
		}
	}
	return commonNames == 1 && s.Equal(Subject{CommonName: name.CommonName, Organizations: name.Organization})
}

// forOpenSSL is the subject as the option -subj of openssl takes it.
func (s Subject) forOpenSSL() string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, "/", `\/`, "+", `\+`)
	for _, o := range sorted(s.Organizations) {
		b.WriteString("/O=" + escape.Replace(o))
	}
	b.WriteString("/CN=" + escape.Replace(s.CommonName))
	return b.String()
}

func (r CertificateSpec) refusesExtension(e pkix.Extension, asked *x509.CertificateRequest) error {
	switch {
	case e.Id.Equal(subjectAltNameID):
		if !r.SANs.hold(e.Value, asked) {
			return fmt.Errorf("it asks for names or addresses that are not the credential's: it may ask for none, or for some of [%s]", r.SANs)
		}
	case e.Id.Equal(extKeyUsageID):
		if !r.usagesHold(e.Value) {
			return fmt.Errorf("it asks for extended key usages that are not the credential's: it may ask for none, or for some of %v", sorted(r.Usages))
		}
	case e.Id.Equal(basicConstraintsID):
		var b struct {
			IsCA       bool `asn1:"optional"`
			MaxPathLen int  `asn1:"optional,default:-1"`
		}
		if !decode(e.Value, &b) || b.IsCA {
			return errors.New("it asks to be a CA: leave basicConstraints out, or make it CA:FALSE")
		}
	case e.Id.Equal(keyUsageID):
		var bits asn1.BitString
		if !decode(e.Value, &bits) || bits.At(5) == 1 || bits.At(6) == 1 {
			return errors.New("it asks for the key usages of a CA: leave keyCertSign and cRLSign out of keyUsage")
		}
	case e.Id.Equal(subjectKeyIDID): // says nothing
	default:
		return errors.New("it asks for an extension that the certificate will not have: it may ask for " +
			"subjectAltName, extendedKeyUsage, keyUsage and basicConstraints alone")
	}
	return nil
}

// hold says whether all SANs that an extension asks for are among s. Its value is looked at as well, because there are
// kinds of names that crypto/x509 passes over.
func (s SANs) hold(value []byte, asked *x509.CertificateRequest) bool {
	var names []asn1.RawValue
	if !decode(value, &names) || len(names) != len(asked.DNSNames)+len(asked.IPAddresses) {
		return false
	}
	for _, name := range asked.DNSNames {
		if !slices.Contains(s.DNSNames, strings.ToLower(strings.TrimSuffix(name, "."))) {
			return false
		}
	}
	for _, ip := range asked.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		if !slices.Contains(s.IPAddresses, addr.Unmap()) {
			return false
		}
	}
	return true
}

func (r CertificateSpec) usagesHold(value []byte) bool {
	var ids []asn1.ObjectIdentifier
	if !decode(value, &ids) {
		return false
	}
	for _, id := range ids {
		if !slices.ContainsFunc(r.Usages, func(u Usage) bool { return usageID[u].Equal(id) }) {
			return false
		}
	}
	return true
}

func decode(value []byte, into any) bool {
	rest, err := asn1.Unmarshal(value, into)
	return err == nil && len(rest) == 0
}
