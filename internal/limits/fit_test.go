package limits

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	most := func(n int) schema { return schema{MaxLength: &n} }
	word := most(5)
	word.Pattern = regexp.MustCompile("^[A-Z][a-z]*$")
	digest := most(8)
	digest.MinLength = 8
	name := most(5)
	name.MinLength = 2
	for label, c := range map[string]struct {
		s        schema
		in, want string
		left     bool
	}{
		"as long as it may be":                     {most(5), "abcde", "abcde", false},
		"one more":                                 {most(5), "abcdef", "ab...", false},
		"characters are counted, and not bytes":    {most(5), "äöüßé", "äöüßé", false},
		"cut between characters":                   {most(5), "𝄞𝄞𝄞𝄞𝄞𝄞", "𝄞𝄞...", false},
		"no room to say so":                        {most(2), "abcdef", "ab", false},
		"bytes that are no characters":             {most(4), "\xff\xfe\xfd\xfc\xfb", "\ufffd...", false},
		"empty":                                    {most(5), "", "", false},
		"a pattern":                                {word, "Abcde", "Abcde", false},
		"a pattern, cut without dots":              {word, "Abcdef", "Abcde", false},
		"a pattern that it does not have":          {word, "abc", "", true},
		"a pattern that it has not once it is cut": {word, "abcdef", "", true},
		"a digest":                                 {digest, "01234567", "01234567", false},
		"a digest that is too long":                {digest, "012345678", "", true},
		"a digest that is too short":               {digest, "0123456", "", true},
		"shorter than it may be":                   {name, "a", "", true},
		"one of some":                              {schema{Enum: []string{"A", "B"}}, "B", "B", false},
		"none of some":                             {schema{Enum: []string{"A", "B"}}, "C", "", true},
		"a time":                                   {schema{Format: "date-time"}, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", false},
		"a time with a year of five digits":        {schema{Format: "date-time"}, "10000-01-02T03:04:05Z", "", true},
		"more than fits into etcd":                 {most(32768), strings.Repeat("x", 32768), strings.Repeat("x", maxText-3) + "...", false},
	} {
		f := fitting{}
		got, ok := f.fit(&c.s, "", c.in)
		if ok == c.left || ok && got != c.want {
			t.Errorf("%s: %q is %q, %v", label, c.in, got, ok)
		}
		if ok && f.changed != (c.in != c.want) {
			t.Errorf("%s: changed is %v", label, f.changed)
		}
	}
}

func TestFit(t *testing.T) {
	two, five := 2, 5
	least, most := int64(1), int64(9)
	text := &schema{MaxLength: &five}
	s := &schema{Properties: map[string]*schema{
		"number": {Minimum: &least, Maximum: &most},
		"flag":   {},
		"list":   {MaxItems: &two, Items: text},
		"keyed": {MaxItems: &two, Keys: []string{"name"}, Items: &schema{
			Properties: map[string]*schema{"name": {Enum: []string{"A", "B", "C"}}, "text": text}, Required: []string{"name"},
		}},
	}}
	item := func(name, text string) any { return map[string]any{"name": name, "text": text} }
	type object = map[string]any
	for label, c := range map[string]struct {
		in, want object
		left     []string
	}{
		"nothing": {object{}, object{}, nil},
		"all of it": {
			object{"number": int64(9), "flag": false, "list": []any{"a", "b"}, "keyed": []any{item("A", "a"), item("B", "a")}},
			object{"number": int64(9), "flag": false, "list": []any{"a", "b"}, "keyed": []any{item("A", "a"), item("B", "a")}}, nil,
		},
		"the first items":             {object{"list": []any{"a", "a", "b"}}, object{"list": []any{"a", "a"}}, nil},
		"items are cut":               {object{"list": []any{"abcdef"}}, object{"list": []any{"ab..."}}, nil},
		"a number that is too small":  {object{"number": int64(0)}, object{}, []string{"at.number"}},
		"a number that is too large":  {object{"number": int64(10)}, object{}, []string{"at.number"}},
		"nothing where something was": {object{"flag": nil}, object{}, []string{"at.flag"}},
		"what nobody knows":           {object{"other": "a"}, object{}, []string{"at.other"}},
		"an item without what is required": {
			object{"keyed": []any{item("X", "a"), item("B", "b")}}, object{"keyed": []any{item("B", "b")}}, []string{"at.keyed[0].name", "at.keyed[0]"},
		},
		"the first of the same key": {
			object{"keyed": []any{item("A", "a"), item("A", "b"), item("B", "c"), item("C", "d")}},
			object{"keyed": []any{item("A", "a"), item("B", "c")}}, []string{"at.keyed[1]"},
		},
	} {
		f := fitting{}
		if _, ok := f.fit(s, "at", c.in); !ok {
			t.Errorf("%s: it does not fit", label)
		}
		if diff := cmp.Diff(c.want, c.in); diff != "" {
			t.Errorf("%s: %s", label, diff)
		}
		if diff := cmp.Diff(c.left, f.left); diff != "" {
			t.Errorf("%s: left out: %s", label, diff)
		}
	}
}
