package pki_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"clusterpki.io/operator/internal/pki"
)

// utf16Of is a text as Windows' editors save it.
func utf16Of(text []byte, order binary.AppendByteOrder, mark bool) []byte {
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xfeff)
	}
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// asPeopleHave writes a text of PEM blocks in the forms in which it comes: each can be read in one way alone.
func asPeopleHave(text []byte) map[string][]byte {
	bom := []byte("\xef\xbb\xbf")
	lines := func(f func(string) string) []byte {
		var b strings.Builder
		for line := range strings.Lines(string(text)) {
			b.WriteString(f(strings.TrimSuffix(line, "\n")))
		}
		return []byte(b.String())
	}
	return map[string][]byte{
		"as it is": text, "CRLF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "no last newline": bytes.TrimSpace(text),
		"a byte order mark": joined(bom, text), "a mark and CRLF": joined(bom, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))),
		"newlines missing between blocks": bytes.ReplaceAll(text, []byte("-----\n-----"), []byte("----------")),
		"UTF-16, little":                  utf16Of(text, binary.LittleEndian, true), "UTF-16, big": utf16Of(text, binary.BigEndian, true),
		"UTF-16 without a mark": utf16Of(text, binary.LittleEndian, false),
		"indented":              lines(func(l string) string { return "    " + l + "\n" }), "trailing blanks": lines(func(l string) string { return l + "  \n" }),
		"one line": lines(func(l string) string { return l }), "leading newlines": joined([]byte("\n\n"), text),
		"text around":        bytes.ReplaceAll(text, []byte("-----BEGIN"), []byte("Bag Attributes\n    friendlyName: x\nsubject=CN = y\n-----BEGIN")),
		"text after":         joined(text, []byte("that was it\n")),
		"base64 once more":   []byte(base64.StdEncoding.EncodeToString(text)),
		"base64 in 76 signs": wrapped(base64.StdEncoding.EncodeToString(text)),
	}
}

func wrapped(text string) []byte {
	var b strings.Builder
	for len(text) > 76 {
		fmt.Fprintln(&b, text[:76])
		text = text[76:]
	}
	return []byte(b.String() + text + "\n")
}

// TestReadsPEMAsPeopleHaveIt reads certificates, keys and requests in every form, and the same from each.
func TestReadsPEMAsPeopleHaveIt(t *testing.T) {
	root := foreignCA(t)
	upper := foreignBelow(t, "upper", root)
	lower := foreignBelow(t, "lower", upper)
	chain := pki.EncodeCertificates(lower.Cert, upper.Cert, root.Cert)
	for form, text := range asPeopleHave(chain) {
		for keyForm, key := range asPeopleHave(reveal(t, lower.Key)) {
			if ca, err := pki.CheckCA(now, text, key); err != nil || len(ca.Chain) != 1 || !ca.Root.Equal(root.Cert) {
				t.Errorf("chain %s, key %s: %v", form, keyForm, err)
			}
		}
		read := pki.ReadPEM(text)
		plain := 0
		for rest := text; ; plain++ {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
		}
		if len(read.Blocks) != 3 || len(read.Faults) > 0 || read.Strict != (plain == 3) {
			t.Errorf("%s: %d blocks, %d faults, strict %v where encoding/pem finds %d", form, len(read.Blocks), len(read.Faults), read.Strict, plain)
		}
		// What programs are to read must be such that they find all of it.
		if certs, err := pki.ParseCertificates(text); (err == nil) != (plain == 3) || len(certs) != 3 && err == nil {
			t.Errorf("%s: a product is read as %d certificates, %v", form, len(certs), err)
		}
	}
	request := must(pki.NewCSR(kubelet(), keyOf(t, ecdsa256)))
	for form, text := range asPeopleHave(bytes.ReplaceAll(request, []byte(" CERTIFICATE REQ"), []byte(" NEW CERTIFICATE REQ"))) {
		if _, err := pki.ParseCSR(text); err != nil {
			t.Errorf("request %s: %v", form, err)
		}
	}
	mislabelled := bytes.ReplaceAll(block("PRIVATE KEY", pkcs1Of(keyOf(t, rsa2048))), []byte("\n"), []byte("\r\n"))
	if key, err := pki.ParsePrivateKey(mislabelled); err != nil || !pki.SamePublicKey(key.Public(), keyOf(t, rsa2048).Public()) {
		t.Errorf("PKCS #1 under the name of PKCS #8: %v", err)
	}
}

func pkcs1Of(key pki.PrivateKey) []byte {
	text, _ := key.Reveal()
	b, _ := pem.Decode(text)
	return b.Bytes
}

// TestSaysWhichBlockCannotBeRead names block and line, and quotes nothing.
func TestSaysWhichBlockCannotBeRead(t *testing.T) {
	ca, other := foreignCA(t), foreignCA(t)
	one, two := ca.CertPEM(), other.CertPEM()
	key := reveal(t, ca.Key)
	secret := string(bytes.Split(key, []byte("\n"))[1])
	der, _ := pem.Decode(one)
	second := bytes.Count(one, []byte("\n")) + 1
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":                  {nil, "no PEM certificate found: it is empty"},
		"DER":                      {der.Bytes, "it is DER, or PKCS #12, and not PEM: convert it, a certificate by `openssl x509 -inform DER"},
		"base64 alone":             {bytes.Join(bytes.Split(one, []byte("\n"))[1:5], []byte("\n")), "it is base64 without the lines that begin and end"},
		"prose":                    {[]byte("see the wiki"), "there is no line that begins with -----BEGIN"},
		"PKCS #7":                  {block("PKCS7", []byte("x")), "block 1 (PKCS7, line 1) stands among the certificates: take the certificates out of it"},
		"OpenSSL's own":            {block("TRUSTED CERTIFICATE", der.Bytes), "write it anew, by `openssl x509"},
		"the second is cut":        {joined(one, two[:len(two)/2]), fmt.Sprintf("block 2 (CERTIFICATE, line %d) cannot be read: its last line, END, is missing", second)},
		"the first is cut":         {joined(one[:len(one)/2], two), "block 1 (CERTIFICATE, line 1) cannot be read: its last line, END, is missing"},
		"no base64":                {joined(one, []byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")), fmt.Sprintf("block 2 (CERTIFICATE, line %d) cannot be read: what it holds is no base64", second)},
		"another end":              {bytes.Replace(one, []byte("END CERTIFICATE"), []byte("END X509 CRL"), 1), "its last line names another kind than its first"},
		"no certificate in it":     {joined(one, block("CERTIFICATE", []byte("x"))), fmt.Sprintf("block 2 (CERTIFICATE, line %d) is a malformed certificate", second)},
		"a key among them":         {joined(one, key), fmt.Sprintf("block 2 (EC PRIVATE KEY, line %d) stands among the certificates: remove it", second)},
		"a key for a kind":         {[]byte("-----BEGIN " + secret + "-----\nAAAA\n-----END " + secret + "-----\n"), "block 1 (of no known kind, line 1) stands among the certificates"},
		"a key that lost its kind": {bytes.ReplaceAll(key, []byte("-----BEGIN EC PRIVATE KEY-----\n"), []byte("-----BEGIN ")), "of no known kind"},
	} {
		_, err := pki.CheckCA(now, tc.text, key)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the message quotes a key: %v", name, err)
		}
		if _, strict := pki.ParseCertificates(tc.text); strict == nil {
			t.Errorf("%s: a product like that is read", name)
		}
	}
}
