package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/pki"
)

// secretNumbers are the numbers whose knowledge is the knowledge of the key.
func secretNumbers(key pki.PrivateKey) []*big.Int {
	switch k := key.Signer().(type) {
	case *rsa.PrivateKey:
		return append([]*big.Int{k.D}, k.Primes...)
	case *ecdsa.PrivateKey:
		return []*big.Int{new(big.Int).SetBytes(must(k.Bytes()))}
	default:
		return []*big.Int{new(big.Int).SetBytes(k.(ed25519.PrivateKey).Seed())}
	}
}

// leaks says in which notation a text holds a key, "" for none.
func leaks(text string, key pki.PrivateKey) string {
	lower := strings.ToLower(text)
	for _, n := range secretNumbers(key) {
		b := n.Bytes()[:12]
		for notation, s := range map[string]string{
			"decimal":         n.String()[:20],
			"hexadecimal":     hex.EncodeToString(b),
			"a list of bytes": strings.Trim(fmt.Sprintf("%d", b), "[]"),
			"bytes in hex":    strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}"),
			"an octal list":   strings.Trim(fmt.Sprintf("%o", b), "[]"),
		} {
			if strings.Contains(lower, s) {
				return notation
			}
		}
		if strings.Contains(text, string(b)) {
			return "raw bytes"
		}
	}
	for line := range strings.Lines(string(must(key.Reveal()))) { // base64, past the first line that says the algorithm
		if line = strings.TrimSpace(line); len(line) > 40 && !strings.HasPrefix(line, "M") && strings.Contains(text, line[20:40]) {
			return "PEM"
		}
	}
	return ""
}

type (
	exported   struct{ Key pki.PrivateKey }
	unexported struct {
		name string
		key  pki.PrivateKey
		pair *pki.CA
		held pki.CA
	}
)

// printed is everything that a careless line of code may make of a value.
func printed(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%U", "%c"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	if text, err := json.Marshal(v); err == nil {
		out["JSON"] = string(text)
	}
	if text, err := yaml.Marshal(v); err == nil {
		out["YAML"] = string(text)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err == nil {
		out["gob"] = b.String()
	}
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "v", v)
	out["slog"] = logs.String()
	out["error"] = fmt.Errorf("sign with %v", v).Error()
	return out
}

func TestKeysCannotBePrinted(t *testing.T) {
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ed25519k} {
		key := keyOf(t, spec)
		pair := pki.CA{Cert: selfSign(t, caRequest()).Cert, Key: key}
		if leaks(string(reveal(t, key))+fmt.Sprint(secretNumbers(key)), key) == "" {
			t.Fatal("this test would not notice a leak")
		}
		for name, v := range map[string]any{
			"key": key, "pointer to key": &key, "pair": pair, "pointer to pair": &pair,
			"slice": []pki.PrivateKey{key}, "map": map[string]pki.PrivateKey{"k": key},
			"struct": exported{Key: key}, "struct with unexported fields": unexported{"n", key, &pair, pair},
			"pointer to struct": &unexported{"n", key, &pair, pair},
		} {
			for how, text := range printed(v) {
				if notation := leaks(text, key); notation != "" {
					t.Errorf("%s key: %s of a %s holds it in %s", spec, how, name, notation)
				}
			}
		}
		for how, want := range map[string]string{"%v": "[REDACTED]", "%#v": "[REDACTED]", "JSON": `"[REDACTED]"`, "YAML": "'[REDACTED]'\n"} {
			if got := printed(key)[how]; got != want {
				t.Errorf("%s of a key is %q, want %q", how, got, want)
			}
		}
		if got := printed(pair)["%+v"]; !strings.Contains(got, "Key:[REDACTED]") {
			t.Errorf("%%+v of a pair does not say that the key is redacted: %.60q…", got)
		}
	}
}

func TestZeroKey(t *testing.T) {
	var key pki.PrivateKey
	if key.Public() != nil || key.Signer() != nil {
		t.Error("the zero key has operations")
	}
	if text, err := key.Reveal(); err == nil {
		t.Errorf("the zero key reveals %q", text)
	}
	if text, err := key.PublicPEM(); err == nil {
		t.Errorf("the zero key has the public half %q", text)
	}
}
