package dashboard

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lineEnd is what ends a line of a stream of events (HTML Living Standard, 9.2.5 "Parsing an event stream").
var lineEnd = regexp.MustCompile("\r\n|\n|\r")

// FuzzSend writes any page as an event, and reads it as a browser does: it is one event, of its name, and of the same lines.
func FuzzSend(f *testing.F) {
	for _, seed := range []string{"", "<p>a</p>\n<p>b</p>", "a\r\nevent: forged\r\ndata: b", "a\revent: forged\rdata: b", "\n\n", "data: x", "\ufeff: y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		w := httptest.NewRecorder()
		s := stream{w: w, control: http.NewResponseController(w), deadline: func() time.Time { return time.Time{} }}
		if err := s.send("view", page); err != nil {
			t.Fatal(err)
		}
		lines := lineEnd.Split(w.Body.String(), -1)
		if len(lines) < 4 || lines[0] != "event: view" || lines[len(lines)-1] != "" || lines[len(lines)-2] != "" {
			t.Fatalf("it was sent as %q", lines)
		}
		var got []string
		for _, line := range lines[1 : len(lines)-2] {
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				t.Fatalf("the line %q is no data", line)
			}
			got = append(got, data)
		}
		if want := lineEnd.Split(page, -1); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("a browser reads %q, and not %q", got, want)
		}
	})
}
