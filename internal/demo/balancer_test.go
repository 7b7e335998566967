package demo

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestBalancer: connections go to servers that are ready, and one that refuses is no failure while another serves.
func TestBalancer(t *testing.T) {
	var ready [2]atomic.Bool
	var servers []*httptest.Server
	var addresses []string
	for i := range ready {
		ready[i].Store(true)
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" && !ready[i].Load() {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, i)
		}))
		t.Cleanup(s.Close)
		servers, addresses = append(servers, s), append(addresses, s.Listener.Addr().String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := startBalancer(t.Context(), at, addresses)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	client := servers[0].Client()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	answers := func() map[string]bool {
		t.Helper()
		got := map[string]bool{}
		for range 10 {
			answer, err := client.Get("https://" + at)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.Body.Close() != nil {
				t.Fatal(err)
			}
			got[string(text)] = true
		}
		return got
	}
	eventually := func(what string, ok func(map[string]bool) bool) {
		t.Helper()
		for range 600 {
			if ok(answers()) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("not in time: %s", what)
	}
	eventually("both serve", func(got map[string]bool) bool { return got["0"] && got["1"] })
	ready[0].Store(false)
	eventually("only the one that is ready gets connections", func(got map[string]bool) bool { return !got["0"] && got["1"] })
	ready[0].Store(true)
	eventually("it is back", func(got map[string]bool) bool { return got["0"] && got["1"] })
	servers[1].Close()
	if got := answers(); !got["0"] || got["1"] {
		t.Errorf("%v answer although one has ended", got)
	}
}
