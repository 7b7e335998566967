package leaks_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

const (
	// window is how many bytes of a secret number give it away: no other text has the same twelve in a row.
	window = 12
	// indexed is how many bytes of each piece the index knows.
	indexed = 8
)

// piece is a part of a private key in one notation.
type piece struct {
	key, notation string
	text          []byte
}

// keyring finds pieces of many private keys in one pass over a text.
type keyring struct {
	pieces map[[indexed]byte][]piece
	places map[string][]string // where a key is, by its public half
}

func newKeyring() *keyring {
	return &keyring{map[[indexed]byte][]piece{}, map[string][]string{}}
}

// inPEM is PEM in base64, as in a kubeconfig and in a Secret.
var inPEM = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/]+=*`)

// addAll adds each private key that stands in a text, in PEM or base64 of that, and says how many there were. A block that
// is damaged is none: what it was made from is known from elsewhere.
func (k *keyring) addAll(name string, text []byte) (n int) {
	for _, coded := range inPEM.FindAll(text, -1) {
		if decoded, err := base64.StdEncoding.DecodeString(string(coded)); err == nil {
			n += k.addAll(name, decoded)
		}
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return n
		}
		key, err := pki.ParsePrivateKey(pem.EncodeToMemory(block))
		if err != nil {
			continue
		}
		public, err := key.PublicPEM()
		if err != nil {
			continue
		}
		n++
		k.place(string(public), name, secretNumbers(key)...)
	}
}

// addSecret adds a key of the kind that has no public half.
func (k *keyring) addSecret(name string, key []byte) {
	k.place(string(key), name, new(big.Int).SetBytes(key))
}

// place notes down that a key is somewhere, and adds it if it was nowhere yet.
func (k *keyring) place(id, name string, numbers ...*big.Int) {
	known := k.places[id]
	if !slices.Contains(known, name) {
		k.places[id] = append(known, name)
	}
	if len(known) > 0 {
		return
	}
	for _, n := range numbers {
		k.addPiece(name, "decimal digits", n.String()[:20])
		b := n.Bytes()
		for _, at := range []int{0, (len(b) - window) / 2, len(b) - window} { // a line break of PEM goes through one at most
			k.addBytes(name, b[at:at+window])
		}
	}
}

// secretNumbers are the numbers whose knowledge is the knowledge of the key.
func secretNumbers(key pki.PrivateKey) []*big.Int {
	switch k := key.Signer().(type) {
	case *rsa.PrivateKey:
		return append([]*big.Int{k.D}, k.Primes...)
	case *ecdsa.PrivateKey:
		b, err := k.Bytes()
		if err != nil {
			panic(err) // pki parses no key of such a curve
		}
		return []*big.Int{new(big.Int).SetBytes(b)}
	default:
		return []*big.Int{new(big.Int).SetBytes(k.(ed25519.PrivateKey).Seed())}
	}
}

func (k *keyring) addBytes(name string, b []byte) {
	numbers := strings.Trim(fmt.Sprintf("%d", b), "[]")
	spaced := fmt.Sprintf("% x", b)
	for notation, text := range map[string]string{
		"raw bytes":               string(b),
		"hexadecimal":             hex.EncodeToString(b),
		"hexadecimal capitals":    strings.ToUpper(hex.EncodeToString(b)),
		"hexadecimal with blanks": spaced,
		"hexadecimal with colons": strings.ReplaceAll(spaced, " ", ":"),
		"a list of numbers":       numbers,
		"a list in JSON":          strings.ReplaceAll(numbers, " ", ","),
	} {
		k.addPiece(name, notation, text)
	}
	for _, once := range inBase64(b) {
		k.addPiece(name, "base64, as in PEM", once)
		k.addPiece(name, "base64 for URLs", strings.NewReplacer("+", "-", "/", "_").Replace(once))
		for _, twice := range inBase64([]byte(once)) {
			k.addPiece(name, "base64 of base64, as of PEM in a Secret", twice)
		}
	}
}

// inBase64 is how some bytes look in base64 wherever in a longer text they stand: which bits of them share a digit
// with their neighbours depends on that.
func inBase64(b []byte) []string {
	var out []string
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString(slices.Concat(make([]byte, shift), b))
		from, to := (shift*8+5)/6, (shift+len(b))*8/6
		out = append(out, text[from:to])
	}
	return out
}

func (k *keyring) addPiece(name, notation, text string) {
	at := [indexed]byte([]byte(text)[:indexed])
	k.pieces[at] = append(k.pieces[at], piece{name, notation, []byte(text)})
}

// in says which keys a text shows, and in which notation.
func (k *keyring) in(text []byte) []string {
	var out []string
	for i := 0; i+indexed <= len(text); i++ {
		for _, p := range k.pieces[[indexed]byte(text[i:i+indexed])] {
			if bytes.HasPrefix(text[i:], p.text) {
				out = append(out, fmt.Sprintf("%s, as %s", p.key, p.notation))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestKeyring hides keys in texts, in each notation, and finds them: a search that finds nothing would pass every run.
func TestKeyring(t *testing.T) {
	for _, spec := range []pki.KeySpec{{Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.ECDSA, Size: 521}, {Algorithm: pki.Ed25519}} {
		t.Run(spec.String(), func(t *testing.T) {
			key, err := pki.GenerateKey(spec)
			if err != nil {
				t.Fatal(err)
			}
			text, err := key.Reveal()
			if err != nil {
				t.Fatal(err)
			}
			public, err := key.PublicPEM()
			if err != nil {
				t.Fatal(err)
			}
			k := newKeyring()
			coded := "client-key-data: " + base64.StdEncoding.EncodeToString(text) + "\n"
			if k.addAll("planted", slices.Concat(public, []byte(coded), text)) != 2 || len(k.places) != 1 {
				t.Fatal("the key in a text was not found")
			}
			block, _ := pem.Decode(text)
			number := secretNumbers(key)[0]
			for notation, hidden := range map[string]string{
				"DER": string(block.Bytes), "PEM": string(text), "one line": strings.ReplaceAll(string(text), "\n", `\n`),
				"a Secret": base64.StdEncoding.EncodeToString(text), "a Secret, further on": base64.StdEncoding.EncodeToString(append([]byte("k: "), text...)),
				"bytes": fmt.Sprintf("%d", number.Bytes()), "hexadecimal": fmt.Sprintf("%x", number), "digits": number.String(),
				"openssl": strings.ReplaceAll(fmt.Sprintf("% x", number.Bytes()), " ", ":"),
			} {
				if k.in([]byte("before "+hidden+" after")) == nil {
					t.Errorf("not found in %s", notation)
				}
			}
			if found := k.in(slices.Concat(public, []byte(strings.Repeat("nothing of it ", 100)))); found != nil {
				t.Errorf("found in a text without it: %v", found)
			}
		})
	}
}
