package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// place is a certificate in a chain.
type place struct {
	cert, signer *x509.Certificate // a root is its own signer
	below        int               // how many CAs stand below it
	root         bool
}

// rule is what a verifier demands of a CA's certificate in a chain. The fault continues a sentence that begins with the
// certificate, and is "" where there is none. What anew says mends it: the same key, signed once more.
type rule struct {
	name  string
	fault func(now time.Time, p place) string
	anew  bool
}

// rules are what OpenSSL, as Debian's TLS has it (-x509_strict -auth_level 2, which takes more than the default does), and
// crypto/x509 demand, and nothing else; the table of TestJudged has the source of each, and asks them.
var rules = []rule{
	{"begin", begun, false},
	{"end", ended, true},
	{"basicConstraints", criticalConstraints, true},
	{"pathlen", pathLength, true},
	{"keyUsage", keyUsage, true},
	{"subjectKeyIdentifier", subjectKeyIdentifier, true},
	{"authorityKeyIdentifier", authorityKeyIdentifier, true},
	{"subject", subject, false},
	{"subjectAltName", subjectAltName, true},
	{"extendedKeyUsage", extendedKeyUsage, true},
	{"nameConstraints", nameConstraints, true},
	{"signature", signatureDigest, true},
}

// judge says what is wrong with a certificate of a chain, and what to change.
func judge(now time.Time, p place) string {
	for _, r := range rules {
		fault := r.fault(now, p)
		switch {
		case fault == "":
		case r.anew:
			return fault + anew(p)
		default:
			return fault
		}
	}
	return ""
}

func begun(now time.Time, p place) string {
	if now.Before(p.cert.NotBefore) {
		return fmt.Sprintf("is not valid before %s: wait, or set the clock right", p.cert.NotBefore.Format(time.RFC3339))
	}
	return ""
}

// ended counts the last second as over, as OpenSSL does.
func ended(now time.Time, p place) string {
	if !now.Before(p.cert.NotAfter) {
		return fmt.Sprintf("expired at %s", p.cert.NotAfter.Format(time.RFC3339))
	}
	return ""
}

func criticalConstraints(_ time.Time, p place) string {
	if e := extension(p.cert, basicConstraintsID); e != nil && !e.Critical {
		return "has basicConstraints that are not critical, which strict verifiers refuse (OpenSSL error 89)"
	}
	return ""
}

// pathLength counts every CA, as Go does: to OpenSSL those that issued themselves do not count.
func pathLength(_ time.Time, p place) string {
	if p.cert.MaxPathLen >= 0 && p.cert.MaxPathLen < p.below {
		return fmt.Sprintf("allows a path length of %d, and %d CAs are to stand below it", p.cert.MaxPathLen, p.below)
	}
	return ""
}

func keyUsage(_ time.Time, p place) string {
	switch {
	case p.cert.KeyUsage&x509.KeyUsageCertSign != 0:
		return ""
	case extension(p.cert, keyUsageID) == nil:
		return "has no keyUsage, which strict verifiers refuse (OpenSSL error 92), such as Python's"
	default:
		return "does not have the key usage keyCertSign, so that it may not sign certificates"
	}
}

func subjectKeyIdentifier(_ time.Time, p place) string {
	if len(p.cert.SubjectKeyId) == 0 {
		return "has no subjectKeyIdentifier, which strict verifiers refuse (OpenSSL error 86), such as Python's"
	}
	return ""
}

func authorityKeyIdentifier(_ time.Time, p place) string {
	e := extension(p.cert, authorityKeyID)
	switch {
	case e == nil && p.root:
		return ""
	case e == nil || !p.root && len(p.cert.AuthorityKeyId) == 0:
		return "has no authorityKeyIdentifier with the identifier of its signer's key, which strict verifiers refuse (OpenSSL error 85), such as Python's"
	default:
		return misnames(e.Value, p.signer)
	}
}

func subject(_ time.Time, p place) string {
	if bytes.Equal(p.cert.RawSubject, emptySequence) {
		return "has no subject, which strict verifiers refuse (OpenSSL error 83): use a CA with a name"
	}
	return ""
}

func subjectAltName(_ time.Time, p place) string {
	if e := extension(p.cert, subjectAltNameID); e != nil && bytes.Equal(e.Value, emptySequence) {
		return "has a subjectAltName without a name, which strict verifiers refuse (OpenSSL error 88)"
	}
	return ""
}

// extendedKeyUsage wants both or none. Go takes the usage "any" for both; OpenSSL does not, on a CA (error 26).
func extendedKeyUsage(_ time.Time, p place) string {
	for _, u := range []Usage{ClientAuth, ServerAuth} {
		if len(p.cert.ExtKeyUsage)+len(p.cert.UnknownExtKeyUsage) > 0 && !slices.Contains(p.cert.ExtKeyUsage, extKeyUsage[u]) {
			return fmt.Sprintf("forbids %s by its extendedKeyUsage, which must be absent or hold both clientAuth and serverAuth", u)
		}
	}
	return ""
}

// nameConstraints are refused whatever they allow: the names of tomorrow's leaves are not known today.
func nameConstraints(_ time.Time, p place) string {
	if extension(p.cert, nameConstraintsID) != nil {
		return "has name constraints, which can forbid names and addresses that a cluster needs"
	}
	return ""
}

// The sizes of RSA keys. minRSABits is the smallest one to which OpenSSL gives the 112 bits of security of its level 2.
// crypto/tls takes none of more than maxSentRSABits from a peer, and a root is not sent; OpenSSL takes none of more than
// maxRSABits at all.
const (
	minRSABits     = 1963
	maxSentRSABits = 8192
	maxRSABits     = 16384
)

func keyStrength(p place) string {
	most := maxSentRSABits
	if p.root {
		most = maxRSABits
	}
	switch spec := SpecOf(p.cert.PublicKey); {
	case spec == KeySpec{}:
		return "has a kind of key that this operator does not know: use RSA, ECDSA or Ed25519"
	case spec.Algorithm == RSA && spec.Size < minRSABits:
		return fmt.Sprintf("has a weak key, %s: use a CA with 2048 bits or more", spec)
	case spec.Algorithm == RSA && spec.Size > most:
		return fmt.Sprintf("has a key of %d bits, and verifiers refuse RSA keys of more than %d bits there: use a CA with a shorter one", spec.Size, most)
	}
	return ""
}

// signatureDigest looks at no root: nobody verifies the signature of what he trusts (RFC 5280 §6.1).
func signatureDigest(_ time.Time, p place) string {
	weak := []x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}
	if !p.root && slices.Contains(weak, p.cert.SignatureAlgorithm) {
		return fmt.Sprintf("is signed with %s, which verifiers refuse", p.cert.SignatureAlgorithm)
	}
	return ""
}

// anew says how to sign the same key once more: with another key, everything that the CA has signed would be cut off. The subject
// key identifier stays, because certificates below may name it. The command begins with a look at the certificate: of an intermediate,
// ca.crt and ca.key are the intermediate's, and a root of that name and key would cut off everything as well.
func anew(p place) string {
	identifier := "hash"
	if id := p.cert.SubjectKeyId; len(id) > 0 {
		identifier = strings.ReplaceAll(fmt.Sprintf("% X", id), " ", ":")
	}
	constraints := "basicConstraints=critical,CA:TRUE"
	if n := p.cert.MaxPathLen; n >= p.below {
		constraints += fmt.Sprintf(",pathlen:%d", n)
	}
	pair, digest := "ca", ", and its SHA-256 into source.import.certificateSHA256"
	switch {
	case p.below > 0 && p.root:
		pair, digest = "root", ", and its SHA-256 into source.import.rootSHA256"
	case p.below > 0:
		pair, digest = "middle", ""
	}
	signer, lines := "Sign the same key anew", constraints+`\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=`+identifier+`\n`
	command := "openssl x509 -in PAIR.crt -signkey PAIR.key -days 3650 -clrext -extfile ext -out new.crt"
	if !p.root {
		signer, lines = "Have its parent CA sign the same key anew", lines+`authorityKeyIdentifier=keyid:always\n`
		command = "openssl x509 -x509toreq -in PAIR.crt -signkey PAIR.key -out ca.csr && openssl x509 -req -in ca.csr -CA parent.crt -CAkey parent.key " +
			"-CAcreateserial -days 1825 -extfile ext -out new.crt"
	}
	sum := sha256.Sum256(p.cert.Raw)
	command = fmt.Sprintf("openssl x509 -in PAIR.crt -outform DER | sha256sum | grep ^%x && printf '%s' > ext && %s", sum, lines, command)
	return strings.ReplaceAll(fmt.Sprintf(". %s, and what it has signed stays valid. With its own certificate and key in PAIR.crt and PAIR.key (the command "+
		"ends at once where PAIR.crt is another): `%s`. Put new.crt into the chain in its place%s", signer, command, digest), "PAIR", pair)
}

// misnames says how an authority key identifier names another CA than the signer, as OpenSSL compares them; "" where it
// does not. What it leaves out names nobody.
func misnames(value []byte, signer *x509.Certificate) string {
	id, ok := parseAuthorityKeyID(value)
	switch {
	case !ok:
		return "has a malformed authorityKeyIdentifier"
	case len(id.key) > 0 && len(signer.SubjectKeyId) > 0 && !bytes.Equal(id.key, signer.SubjectKeyId):
		return fmt.Sprintf("names its signer's key as %X, which %q calls %X, so that OpenSSL does not find it (error 30)",
			id.key, signer.Subject, signer.SubjectKeyId)
	case id.serial != nil && id.serial.Cmp(signer.SerialNumber) != 0:
		return fmt.Sprintf("names its signer by the serial number %X, and that of %q is %X, as after a renewal, so that OpenSSL does not find it (error 31)",
			id.serial, signer.Subject, signer.SerialNumber)
	case id.issuer != nil && !sameName(id.issuer, signer.RawIssuer):
		return fmt.Sprintf("names the signer of its signer otherwise than %q does, so that OpenSSL does not find it (error 31)", signer.Subject)
	default:
		return ""
	}
}

// authorityKey is the authority key identifier of RFC 5280 §4.2.1.1.
type authorityKey struct {
	key    []byte
	issuer []byte // the first directory name, DER
	serial *big.Int
}
