package dashboard

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
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
	page, err := os.ReadFile("testdata/live.html")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(page))
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

// FuzzKnownHost asks with any name of a host: what is known is an address, a name of this machine or of a cluster's services, or one that was allowed. Of
// any other name somebody else's DNS may have pointed a browser here.
func FuzzKnownHost(f *testing.F) {
	for _, seed := range []string{
		"localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:80", "[::1]:8080", "::1", "pki.example.org", "pki.example.org:443", "evil.example.org", "", ":80", ".",
		"clusterpki.prod.svc", "x.svc.cluster.local:8443", "localhost.evil.example", "evilsvc", "[localhost]", "127.0.0.1.evil.example", "[::1%25lo]", "0x7f.1", "localhost\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !knownHost(host, []string{"pki.example.org"}) {
			return
		}
		u, err := url.Parse("http://" + host + "/")
		if err != nil || u.Host != host {
			return // no browser asks for it
		}
		name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		_, err = netip.ParseAddr(name)
		if err != nil && name != "localhost" && name != "pki.example.org" && !strings.HasSuffix(name, ".svc") && !strings.HasSuffix(name, ".svc.cluster.local") {
			t.Errorf("%q is known, and is called %q", host, name)
		}
	})
}
