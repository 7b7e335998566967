package kubeconfig

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// text is the kubeconfig as YAML, with the fields in the order of their names. It is written line by line: a library for any
// YAML takes most of the time that a certificate costs.
func (p Params) text() []byte {
	size := 1024
	for _, m := range []Material{p.CA, p.Certificate, p.Key} {
		size += base64.StdEncoding.EncodedLen(len(m.PEM))
	}
	w := lines(make([]byte, 0, size))
	w.line("apiVersion: ", "v1")
	w.line("clusters:", "")
	w.line("- cluster:", "")
	w.material("    certificate-authority", p.CA)
	w.line("    server: ", scalar(p.Server))
	if p.TLSServerName != "" {
		w.line("    tls-server-name: ", scalar(p.TLSServerName))
	}
	w.line("  name: ", scalar(p.ClusterName))
	w.line("contexts:", "")
	w.line("- context:", "")
	w.line("    cluster: ", scalar(p.ClusterName))
	if p.Namespace != "" {
		w.line("    namespace: ", scalar(p.Namespace))
	}
	w.line("    user: ", scalar(p.UserName))
	w.line("  name: ", scalar(p.ContextName))
	w.line("current-context: ", scalar(p.ContextName))
	w.line("kind: ", "Config")
	w.line("users:", "")
	w.line("- name: ", scalar(p.UserName))
	w.line("  user:", "")
	w.material("    client-certificate", p.Certificate)
	w.material("    client-key", p.Key)
	return w
}

// lines is a text in the making.
type lines []byte

func (w *lines) line(field, value string) { *w = append(append(append(*w, field...), value...), '\n') }

// material writes a path, or PEM as base64.
func (w *lines) material(field string, m Material) {
	if m.Path != "" {
		w.line(field+": ", scalar(m.Path))
		return
	}
	w.line(field+"-data: ", scalar(base64.StdEncoding.EncodeToString(m.PEM)))
}

// scalar is a string in YAML: as it is where nothing else can be read from it, else quoted. Every escape of Go's quotes is one
// of YAML's double quotes.
func scalar(s string) string {
	if isPlain(s) {
		return s
	}
	return strconv.Quote(s)
}

// notStrings are the words that some version of YAML reads as something else, in lower case.
var notStrings = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

// isPlain says whether a string begins with a letter or a slash, holds nothing but what names, paths, URLs and base64 are made
// of, and is no word of YAML's. A colon is an indicator where it ends the string.
func isPlain(s string) bool {
	if s == "" || !isLetter(s[0]) && s[0] != '/' || s[len(s)-1] == ':' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte("+-./:=@_[]", c) < 0 {
			return false
		}
	}
	return len(s) > len("false") || !slices.Contains(notStrings, strings.ToLower(s))
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
