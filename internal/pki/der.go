package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
)

var (
	authorityKeyID    = asn1.ObjectIdentifier{2, 5, 29, 35}
	nameConstraintsID = asn1.ObjectIdentifier{2, 5, 29, 30}

	emptySequence = []byte{0x30, 0}
)

// extension is an extension of a certificate, nil where it is not there.
func extension(cert *x509.Certificate, id asn1.ObjectIdentifier) *pkix.Extension {
	for i := range cert.Extensions {
		if cert.Extensions[i].Id.Equal(id) {
			return &cert.Extensions[i]
		}
	}
	return nil
}

// parseAuthorityKeyID reads all of an authority key identifier: crypto/x509 reads the key alone.
func parseAuthorityKeyID(value []byte) (authorityKey, bool) {
	var parts []asn1.RawValue
	var out authorityKey
	if !decode(value, &parts) {
		return out, false
	}
	for _, p := range parts {
		switch {
		case p.Class != asn1.ClassContextSpecific:
			return out, false
		case p.Tag == 0:
			out.key = p.Bytes
		case p.Tag == 1:
			out.issuer = firstDirectoryName(p.Bytes)
		case p.Tag == 2 && len(p.Bytes) > 0:
			out.serial = new(big.Int).SetBytes(p.Bytes)
			if p.Bytes[0]&0x80 != 0 { // negative, in two's complement
				out.serial.Sub(out.serial, new(big.Int).Lsh(big.NewInt(1), uint(8*len(p.Bytes))))
			}
		default:
			return out, false
		}
	}
	return out, true
}

// firstDirectoryName is the one of a list of general names that OpenSSL looks at.
func firstDirectoryName(names []byte) []byte {
	for len(names) > 0 {
		var name asn1.RawValue
		rest, err := asn1.Unmarshal(names, &name)
		if err != nil {
			return nil
		}
		if name.Class == asn1.ClassContextSpecific && name.Tag == 4 {
			return name.Bytes
		}
		names = rest
	}
	return nil
}

// sameName compares two distinguished names as OpenSSL does: neither the kind of string, nor case, nor blanks beside others count.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	left, ok := canonical(a)
	right, both := canonical(b)
	return ok && both && left == right
}

func canonical(name []byte) (string, bool) {
	var parts pkix.RDNSequence
	if !decode(name, &parts) {
		return "", false
	}
	var b strings.Builder
	for _, set := range parts {
		for _, attribute := range set {
			text, isText := attribute.Value.(string)
			if !isText {
				text = fmt.Sprintf("%v", attribute.Value)
			}
			fmt.Fprintf(&b, "%v=%q,", attribute.Type, strings.ToLower(strings.Join(strings.Fields(text), " ")))
		}
		b.WriteString("/")
	}
	return b.String(), true
}
