package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"

	"clusterpki.io/operator/test/testenv"
)

var linkLine = regexp.MustCompile(`Open (http://127\.0\.0\.1:\d+/login\?code=\w+)`)

// links are those that the command has printed.
func (c *command) links() []string {
	var out []string
	for _, m := range linkLine.FindAllStringSubmatch(c.out.String(), -1) {
		out = append(out, m[1])
	}
	return out
}

// open opens a link as a browser would.
func (c *command) open(link string) (int, string) {
	c.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	answer, err := browser.Get(link)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestDashboard runs as somebody who may read no Secret: each link is good once, and shows one namespace.
func TestDashboard(t *testing.T) {
	w, other := steady(t), steady(t)
	c := w.begin("dashboard", "--bind-address", "127.0.0.1:0")
	c.prints("Open http://127.0.0.1:")
	first := c.links()[0]
	var body string
	testenv.Eventually(t, "show the page", func() error {
		links := c.links()
		code := 0
		if code, body = c.open(links[len(links)-1]); code != http.StatusOK {
			return fmt.Errorf("it answers %d", code)
		}
		return nil
	})
	if !strings.Contains(body, w.ns) || strings.Contains(body, other.ns) {
		t.Errorf("the page of namespace %s:\n%s", w.ns, body)
	}
	if code, body := c.open(first); code != http.StatusUnauthorized || !strings.Contains(body, "used already") {
		t.Errorf("the first link again: %d\n%s", code, body)
	}
	if code, _ := c.open(first[:strings.Index(first, "/login")+1]); code != http.StatusUnauthorized {
		t.Errorf("without a link: %d", code)
	}
	c.stop()
	if err := c.end(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestDashboardRefuses(t *testing.T) {
	w := steady(t)
	for want, args := range map[string][]string{
		"can be reached from other machines":    {"dashboard", "--bind-address", "0.0.0.0:0"},
		"is not as '127.0.0.1:8444' or ':8444'": {"dashboard", "--bind-address", "8444"},
		"has no context \"nowhere\"":            {"dashboard", "--context", "nowhere"},
	} {
		if out, err := w.run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
