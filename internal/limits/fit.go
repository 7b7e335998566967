package limits

import (
	"fmt"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

// schema is what a CRD admits in one place of a status: all that the CRDs say there (TestKeywords).
type schema struct {
	Format     string
	Properties map[string]*schema
	Required   []string
	Items      *schema
	MaxItems   *int
	Keys       []string `json:"x-kubernetes-list-map-keys"`
	Enum       []string
	Pattern    *regexp.Regexp
	MinLength  int
	MaxLength  *int
	Minimum    *int64
	Maximum    *int64
}

// maxText bounds every text, in characters, also where the CRD admits more. That is the message of a condition, of which
// metav1.Condition admits 32,768: of 16 conditions these would be more than the 1.5 MiB that etcd takes for one object.
const maxText = 4096

// fitting makes a status fit, as JSON has it.
type fitting struct {
	changed bool
	left    []string // what was left out, and should not have been there
}

// leave notes what is left out.
func (f *fitting) leave(at string) {
	f.left, f.changed = append(f.left, at), true
}

// fit is a value as the schema admits it, and whether there is one.
func (f *fitting) fit(s *schema, at string, value any) (any, bool) {
	if s == nil { // the API server would remove it
		return nil, false
	}
	switch v := value.(type) {
	case map[string]any:
		return v, f.object(s, at, v)
	case []any:
		return f.list(s, at, v), true
	case string:
		return f.text(s, v)
	case int64:
		return v, (s.Minimum == nil || v >= *s.Minimum) && (s.Maximum == nil || v <= *s.Maximum)
	default:
		return v, v != nil
	}
}

// object makes the fields of an object fit. Without one that is required the object does not.
func (f *fitting) object(s *schema, at string, fields map[string]any) bool {
	for name, value := range fields {
		fitted, ok := f.fit(s.Properties[name], at+"."+name, value)
		if fields[name] = fitted; !ok {
			delete(fields, name)
			f.leave(at + "." + name)
		}
	}
	return !slices.ContainsFunc(s.Required, func(name string) bool {
		_, there := fields[name]
		return !there
	})
}

// list keeps the first items that fit: who makes a list begins with what matters most. Of two of the same key it is the first.
func (f *fitting) list(s *schema, at string, items []any) []any {
	var out []any
	seen := map[string]bool{}
	for i, item := range items {
		if s.MaxItems != nil && len(out) == *s.MaxItems {
			f.changed = true
			break
		}
		at := fmt.Sprintf("%s[%d]", at, i)
		fitted, ok := f.fit(s.Items, at, item)
		key := s.keyOf(fitted)
		if !ok || key != "" && seen[key] {
			f.leave(at)
			continue
		}
		seen[key] = true
		out = append(out, fitted)
	}
	return out
}

// keyOf is what tells an item of a list from the others; nothing where two may be the same.
func (s *schema) keyOf(item any) (key string) {
	fields, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	for _, name := range s.Keys {
		key += fmt.Sprintf("%v/", fields[name])
	}
	return key
}

// text cuts a text that is too long. One that is a name of something, by its pattern or its length, is still one afterwards, or
// does not fit.
func (f *fitting) text(s *schema, text string) (string, bool) {
	switch {
	case s.Enum != nil:
		return text, slices.Contains(s.Enum, text)
	case s.Format == "date-time":
		_, err := time.Parse(time.RFC3339, text)
		return text, err == nil
	}
	limit := maxText
	if s.MaxLength != nil {
		limit = min(limit, *s.MaxLength)
	}
	length := utf8.RuneCountInString(text)
	if length > limit {
		f.changed, length = true, limit
		if s.MinLength == limit {
			return text, false
		}
		text = cut(text, limit, s.Pattern == nil)
	}
	return text, length >= s.MinLength && (s.Pattern == nil || s.Pattern.MatchString(text))
}

// cut shortens a text to so many characters, the last of which say so where they may.
func cut(text string, limit int, ellipsis bool) string {
	const dots = "..."
	runes := []rune(text)
	if ellipsis && limit > len(dots) {
		return string(runes[:limit-len(dots)]) + dots
	}
	return string(runes[:limit])
}
