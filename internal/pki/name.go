package pki

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What stands in a certificate as a name is compared byte by byte by Kubernetes, after preparation by other verifiers
// (RFC 4518: case, width, blanks and invisible characters are mapped away), and by eye by people. So a name has only characters
// for which all three agree: printable ASCII, and the Latin letters of U+00C0 to U+017E that look like no other and are the
// same in each Unicode normal form.
const lookLike = "ÐĲĳĸĿŀŉıſ"

// CheckName says why a text cannot be a name in a certificate, and what to change.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty: write one")
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is not UTF-8: write the name in letters", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%q begins or ends with a blank: remove it (in YAML, `|` and `>` leave a line break at the end; `|-` and `>-` don't)", name)
	case strings.Contains(name, "  "):
		return fmt.Errorf("%q has two blanks in a row, which other programs take for one (RFC 4518 section 2.6.1): write one", name)
	}
	for _, r := range name {
		if !nameRune(r) {
			return fmt.Errorf("%q holds %U: a name may hold printable ASCII characters, and letters of Latin script such as é, which look like no other; "+
				"write it with those", name, r)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r <= '~'
	}
	return r >= 'À' && r <= 'ž' && unicode.IsLetter(r) && !strings.ContainsRune(lookLike, r)
}

// Prefixes of users and groups that are kept for others, and by whom.
var reservedPrefixes = []struct{ prefix, skeleton, by string }{
	{"system:", skeleton("system:"), "Kubernetes"}, {"kubeadm:", skeleton("kubeadm:"), "kubeadm"}, {"clusterpki:", skeleton("clusterpki:"), "clusterpki"},
}

// identities are users and groups that something in a cluster trusts by name, beside those of the role table: aggregator is
// kops' front proxy, kubelet-bootstrap the user of kubernetes.io "TLS bootstrapping".
var identities = []string{"aggregator", "kubelet-bootstrap"}

// CheckOwnName says why a name cannot be one that is given freely: it is none, or it equals or imitates one that Kubernetes,
// or a role of the table, has.
func CheckOwnName(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	seen := skeleton(name)
	for _, reserved := range reservedPrefixes {
		if strings.HasPrefix(seen, reserved.skeleton) {
			return fmt.Errorf("%q begins with %q, or looks as if it did, which %s reserves: use the role for that identity", name, reserved.prefix, reserved.by)
		}
	}
	if identity, is := taken[seen]; is {
		return fmt.Errorf("%q is, or looks like, %s: choose another name", name, identity)
	}
	return nil
}

// CheckCredentialName says why a name cannot be that of a credential's host, user, group or SAN: beside CheckOwnName, it may not be
// one under which clients know the API server.
func CheckCredentialName(name string) error {
	if err := CheckOwnName(name); err != nil {
		return err
	}
	if isServiceName(strings.Replace(name, "*.", "kubernetes.", 1)) { // a wildcard stands for one label
		return fmt.Errorf("%q is a name of the API server, by which every pod knows it: choose another name", name)
	}
	return nil
}

// taken are the skeletons of what is trusted by name, and what that is, for messages.
var taken = func() map[string]string {
	out := map[string]string{}
	for _, name := range identities {
		out[skeleton(name)] = fmt.Sprintf("%q, which is an identity of its own", name)
	}
	for _, r := range roles {
		for _, name := range append(slices.Clone(r.Organizations), r.CommonName) {
			if name != "" {
				out[skeleton(name)] = fmt.Sprintf("%q, which is the identity of role %s", name, r.Name)
			}
		}
	}
	return out
}()

// isServiceName says whether a name is one of the Service "kubernetes", in whatever cluster domain.
func isServiceName(name string) bool {
	return slices.Contains(serviceNames, name) || strings.HasPrefix(name, serviceNames[len(serviceNames)-1]+".")
}

// skeleton is what is left of a name for the eye: two names with one skeleton are taken for each other (after Unicode
// Technical Standard 39, section 4, for the characters that a name may have).
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		b.WriteRune(plain(r))
	}
	return twins.Replace(b.String())
}

// twins are characters that are taken for others.
var twins = strings.NewReplacer("0", "o", "1", "l", "i", "l", "|", "l", "!", "l", "_", "-", " ", "-", ";", ":", "rn", "m", "vv", "w")

// plain is a letter without its marks.
func plain(r rune) rune {
	if r < utf8.RuneSelf {
		return r
	}
	for _, letters := range []string{
		"aàáâãäåāăą", "cçćĉċč", "dďđ", "eèéêëēĕėęě", "gĝğġģ", "hĥħ", "iìíîïĩīĭį", "jĵ", "kķ", "lĺļľł", "nñńņňŋ",
		"oòóôõöøōŏő", "rŕŗř", "sśŝşš", "tţťŧ", "uùúûüũūŭůűų", "wŵ", "yýÿŷ", "zźżž",
	} {
		if strings.ContainsRune(letters, r) {
			return rune(letters[0])
		}
	}
	return r
}
