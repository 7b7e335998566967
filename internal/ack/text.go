package ack

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// Tokens are Secrets of type kubernetes.io/service-account-token of the cluster that a host belongs to, as its API server lists them.
type Tokens struct {
	// Listed says whether they could be listed. If not, nothing is known of them.
	Listed bool `json:"listed,omitempty"`
	// Before is since when an earlier key signs nothing any more, as the operator has signed it: those count that were made before.
	Before time.Time `json:"before,omitzero"`
	// Count is how many there are, and Names the first of them, as 'namespace/name', in their order.
	Count int      `json:"count,omitempty"`
	Names []string `json:"names,omitempty"`
}

const (
	// MaxTokenNames bounds Names, in bytes.
	MaxTokenNames = 8 << 10
	// maxTokenName bounds one of them: a namespace of 63 bytes, '/' and a name of 253.
	maxTokenName = 317
)

// bounded are tokens whose names are in order, each at most once, and all of them short enough and printable. Those that cannot be the name of
// a Secret are not told. There are at least as many as are named.
func (t *Tokens) bounded() *Tokens {
	if t == nil {
		return nil
	}
	b := *t
	names := slices.DeleteFunc(slices.Clone(t.Names), func(n string) bool { return !isTokenName(n) })
	slices.Sort(names)
	b.Names = nil
	size := 0
	for _, n := range slices.Compact(names) {
		if size += len(n); size > MaxTokenNames {
			break
		}
		b.Names = append(b.Names, n)
	}
	b.Count = max(b.Count, len(b.Names))
	return &b
}

// isTokenName says whether a text may be 'namespace/name' of a Secret.
func isTokenName(text string) bool {
	namespace, name, ok := strings.Cut(text, "/")
	other := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' }
	return ok && namespace != "" && name != "" && len(text) <= maxTokenName && !strings.ContainsFunc(namespace+name, other)
}

// printable is one line of a text, cut to MaxProblem, without what a terminal would obey.
func printable(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > MaxProblem {
		text = strings.ToValidUTF8(text[:MaxProblem-3], "") + "..."
	}
	return text
}
