package pki

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// Block is a PEM block (RFC 7468) of a text.
type Block struct {
	pem.Block
	Number, Line int // both from 1
}

// Fault is a block that cannot be read. It quotes nothing of it.
type Fault struct {
	Number, Line int
	Kind, What   string
}

func (f Fault) Error() string {
	return fmt.Sprintf("block %d (%s, line %d) cannot be read: %s", f.Number, f.Kind, f.Line, f.What)
}

// PEMText is what a text holds.
type PEMText struct {
	Blocks []Block
	Faults []Fault // of blocks that are there and cannot be read
	// Strict says that every program that reads PEM finds these blocks. Otherwise something was put right that others
	// pass over in silence: a byte order mark, UTF-16, a line that was not ended, indentation.
	Strict bool
	empty  string // why there is no block
}

const (
	pemBegin, pemEnd, pemDashes = "-----BEGIN ", "-----END ", "-----"
	maxLabel                    = 40
)

// ReadPEM finds every PEM block of a text as people have it: with a byte order mark, in UTF-16, indented, with text around the
// blocks, with lines that are not ended or joined to one, or as a whole in base64 once more. It is the one reader of
// certificates, keys and requests. What it cannot read it counts.
func ReadPEM(raw []byte) PEMText {
	if blocks := decodeAll(raw); len(blocks) > 0 && bytes.Count(raw, []byte(pemBegin)) == len(blocks) {
		out := PEMText{Strict: true}
		p := position{text: string(raw)}
		for _, b := range blocks {
			p.next()
			out.Blocks = append(out.Blocks, Block{*b, p.number, p.line})
		}
		return out
	}
	var out PEMText
	for p := (position{text: plainText(raw)}); p.next(); {
		block, kind, what := readBlock(p.upToNext())
		if what != "" {
			out.Faults = append(out.Faults, Fault{p.number, p.line, kind, what})
			continue
		}
		out.Blocks = append(out.Blocks, Block{block, p.number, p.line})
	}
	if len(out.Blocks)+len(out.Faults) == 0 {
		out.empty = notPEM(raw)
	}
	return out
}

// position goes through a text from one block to the next.
type position struct {
	text         string
	at           int // behind the last BEGIN
	number, line int
}

func (p *position) next() bool {
	i := strings.Index(p.text[p.at:], pemBegin)
	if i < 0 {
		return false
	}
	if p.number == 0 {
		p.line = 1
	}
	p.line += strings.Count(p.text[p.at:p.at+i], "\n")
	p.number++
	p.at += i + len(pemBegin)
	return true
}

// upToNext is what stands behind BEGIN: a block ends before the next one begins.
func (p *position) upToNext() string {
	text, _, _ := strings.Cut(p.text[p.at:], pemBegin)
	return text
}

// FirstFault is the first block that cannot be read, nil for none.
func (t PEMText) FirstFault() error {
	if len(t.Faults) == 0 {
		return nil
	}
	return t.Faults[0]
}

// decodeAll is what encoding/pem finds, which skips what it cannot read.
func decodeAll(text []byte) []*pem.Block {
	var out []*pem.Block
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return out
		}
		out, text = append(out, block), rest
	}
}

// readBlock reads what follows on BEGIN. what says why it cannot be read.
func readBlock(text string) (b pem.Block, kind, what string) {
	label, body, ok := strings.Cut(text, pemDashes)
	if !ok || !isLabel(label) {
		return b, "of no known kind", "its first line does not end with five dashes"
	}
	kind = knownKind(label)
	body, end, ok := strings.Cut(body, pemEnd)
	switch {
	case !ok:
		return b, kind, "its last line, END, is missing"
	case !strings.HasPrefix(end, label+pemDashes):
		return b, kind, "its last line names another kind than its first"
	}
	b = pem.Block{Type: label, Headers: map[string]string{}}
	body = headers(body, b.Headers)
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil || len(der) == 0 {
		return b, kind, "what it holds is no base64, or not all of it is there"
	}
	b.Bytes = der
	return b, kind, ""
}

// headers takes in the lines that stand before the base64 (RFC 1421), and returns what follows.
func headers(body string, into map[string]string) string {
	rest := strings.TrimLeft(body, " \t\r\n")
	for {
		line, after, ended := strings.Cut(rest, "\n")
		key, value, ok := strings.Cut(line, ":")
		if !ok || !ended {
			return rest
		}
		into[strings.TrimSpace(key)], rest = strings.TrimSpace(value), after
	}
}

func isLabel(label string) bool {
	return len(label) <= maxLabel && !strings.ContainsFunc(label, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != ' '
	})
}

// kinds are the labels that may be named in a message: any other text may be a key that lost its first line.
var kinds = []string{
	certBlock, "X509 CERTIFICATE", "TRUSTED CERTIFICATE", csrBlock, "NEW " + csrBlock, "PKCS7", "CMS", "X509 CRL", "PUBLIC KEY", "RSA PUBLIC KEY",
	"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PARAMETERS", "DH PARAMETERS",
}

const certBlock = "CERTIFICATE"

func knownKind(label string) string {
	if slices.Contains(kinds, label) {
		return label
	}
	return "of no known kind"
}

// plainText is a text without byte order mark, in UTF-8, and decoded if it is base64 of PEM.
func plainText(raw []byte) string {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	raw = fromUTF16(raw)
	if compact := bytes.Join(bytes.Fields(raw), nil); bytes.HasPrefix(compact, []byte(doubleBase64)) {
		if once, err := base64.StdEncoding.DecodeString(string(compact)); err == nil {
			return string(once)
		}
	}
	return string(raw)
}

// doubleBase64 is how "-----BEGIN" begins in base64.
const doubleBase64 = "LS0tLS1CRUdJTi"

// fromUTF16 decodes a text with the byte order mark of UTF-16, or with a zero in every second byte of its first word.
func fromUTF16(raw []byte) []byte {
	little := bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("-\x00-\x00"))
	big := bytes.HasPrefix(raw, []byte("\xfe\xff")) || bytes.HasPrefix(raw, []byte("\x00-\x00-"))
	if !little && !big {
		return raw
	}
	units := make([]uint16, 0, len(raw)/2)
	for i := 0; i+1 < len(raw); i += 2 {
		unit := uint16(raw[i]) | uint16(raw[i+1])<<8
		if big {
			unit = uint16(raw[i])<<8 | uint16(raw[i+1])
		}
		units = append(units, unit)
	}
	return []byte(strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff"))
}

// notPEM says what a text without a PEM block is, as far as that can be told.
func notPEM(raw []byte) string {
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return "it is empty"
	case len(raw) > 4 && raw[0] == 0x30 && raw[1] >= 0x80:
		return "it is DER, or PKCS #12, and not PEM: convert it, a certificate by `openssl x509 -inform DER -in FILE -out NEW`, " +
			"a key by `openssl pkey -inform DER -in FILE -out NEW`"
	case bytes.HasPrefix(bytes.TrimSpace(raw), []byte("MII")):
		return "it is base64 without the lines that begin and end a PEM block: put them before and after it"
	default:
		return "there is no line that begins with -----BEGIN"
	}
}
