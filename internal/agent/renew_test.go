package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestRenewAt: a credential is renewed when a third of what was granted is over, and at most a tenth of that later; one that a kubeconfig brings at once.
func TestRenewAt(t *testing.T) {
	granted := lifetime{at(), at().Add(30 * 24 * time.Hour)}
	third := 10 * 24 * time.Hour
	for seed := range uint32(300) {
		c := credential{renewed: true, lifetime: granted}
		if got := c.renewAt(seed).Sub(granted.issued); got < third || got >= third+third/10 {
			t.Errorf("seed %d: renewed after %s", seed, got)
		}
	}
	if c := (credential{lifetime: granted}); !c.renewAt(7).IsZero() {
		t.Errorf("the first one is renewed at %s", c.renewAt(7))
	}
	if seedOf("prod/a") == seedOf("prod/b") {
		t.Error("two hosts renew in the same moment")
	}
}

// TestExpiring: less than a third of what was granted is left, and not of what was asked for.
func TestExpiring(t *testing.T) {
	l := lifetime{at(), at().Add(3 * time.Hour)}
	for name, c := range map[string]struct {
		at   time.Duration
		want bool
	}{
		"at first":                         {0, false},
		"one second before two thirds":     {2*time.Hour - time.Second, false},
		"a third is left":                  {2 * time.Hour, true},
		"it has ended":                     {4 * time.Hour, true},
		"the clock was set back an hour":   {-time.Hour, false},
		"when it is renewed, a third in":   {time.Hour, false},
		"one second after two thirds":      {2*time.Hour + time.Second, true},
		"one second before its very end":   {3*time.Hour - time.Second, true},
		"half of it is over, half is left": {90 * time.Minute, false},
	} {
		if got := l.expiring(l.issued.Add(c.at)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (lifetime{}).expiring(at()) {
		t.Error("one without an end is about to end")
	}
}

// TestCredentialOf reads whose a token is, and nothing where it does not say.
func TestCredentialOf(t *testing.T) {
	life := lifetime{at(), at().Add(time.Hour)}
	for token, want := range map[string]credential{
		jwt(agentSubject, life): {account: account{"clusterpki-agents", "k8s-node1.prod"}, lifetime: life},
		jwt("system:serviceaccount:a:b", lifetime{life.expires, life.issued}): {account: account{"a", "b"}},
		jwt("jane", life): {lifetime: life},
		"opaque":          {},
		"a.b.c":           {},
		"":                {},
	} {
		got := credentialOf(token)
		if got.account != want.account || got.lifetime != want.lifetime || got.token() != token {
			t.Errorf("%s reads as %v %v", token, got.account, got.lifetime)
		}
	}
}

// TestSameIssuer: a renewed credential is shown to the cluster that issued it, known by its URL or by its CA, and to no other.
func TestSameIssuer(t *testing.T) {
	by := func(url, ca string) issuer {
		return issuerOf(&rest.Config{Host: url, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(ca)}})
	}
	for name, c := range map[string]struct {
		a, b issuer
		want bool
	}{
		"another URL":                 {by("https://a", "x"), by("https://b", "x"), true},
		"another CA":                  {by("https://a", "x"), by("https://a", "y"), true},
		"both":                        {by("https://a", "x"), by("https://b", "y"), false},
		"another URL, of public CAs":  {by("https://a", ""), by("https://b", "\n"), false},
		"the same URL, of public CAs": {by("https://a", ""), by("https://a", ""), true},
		"a CA that it had not before": {by("https://a", ""), by("https://b", "x"), false},
	} {
		if got := c.a.same(c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestTokenIsNotPrinted whatever prints it.
func TestTokenIsNotPrinted(t *testing.T) {
	c := credentialOf(jwt(agentSubject, lifetime{at(), at().Add(time.Hour)}))
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %v %+v", c, c, c.token, &c)} {
		if strings.Contains(text, c.token()) {
			t.Errorf("it prints %s", text)
		}
	}
}

// renewing is an agent with one management cluster, or several, in steps of a test.
type renewing struct {
	*env
	planes []*management
	firsts []string // the tokens of the kubeconfigs
	s      *session
}

func newRenewing(t *testing.T, clusters int) *renewing {
	t.Helper()
	dir := t.TempDir()
	var names []string
	w := &renewing{env: newEnv(t, func(c *Config) {
		c.ManagementClusters = nil
		for i := range clusters {
			names = append(names, filepath.Join(dir, fmt.Sprint(i)))
			c.ManagementClusters = append(c.ManagementClusters, ManagementCluster{fmt.Sprintf("m%d", i), names[i]})
		}
	})}
	w.silence = 0
	for i := range clusters {
		m := newManagement(t, w.now)
		first := jwt(agentSubject, lifetime{w.now.Now().Add(-time.Duration(i+1) * time.Second), w.now.Now().Add(24 * time.Hour)})
		m.kubeconfig(t, names[i], first)
		w.planes, w.firsts = append(w.planes, m), append(w.firsts, first)
	}
	t.Cleanup(func() { w.s.close() })
	return w
}

// turn is one turn of Run, after some time, once the management cluster was asked.
func (w *renewing) turn(after time.Duration) {
	w.t.Helper()
	w.now.Step(after)
	if w.s, _ = w.connect(w.t.Context(), w.s); w.s == nil {
		return
	}
	_, _ = w.look(w.t.Context(), w.s)
	if w.s.broken() != nil {
		return
	}
	w.renew(w.t.Context(), w.s)
	if w.reconnect {
		w.s.close()
		w.s, w.reconnect = nil, false
		w.turn(0)
	}
}

// restart is an agent that remembers nothing but what is on the disk.
func (w *renewing) restart() {
	w.s.close()
	w.s, w.Agent = nil, w.restarted(w.cfg)
	w.silence = 0
}

func (w *renewing) wants(step string, cluster int, token string) {
	w.t.Helper()
	if w.s == nil || w.s.cluster.Name != fmt.Sprintf("m%d", cluster) {
		w.t.Fatalf("%s: the session is not to management cluster %d", step, cluster)
	}
	if w.s.credential.token() != token || !w.planes[cluster].wasShown(token) {
		w.t.Errorf("%s: the agent shows another token", step)
	}
}

// TestRenewal: the first token is replaced at once, each other when a third of its life is over, and a restart goes on with the newest. No token is logged.
func TestRenewal(t *testing.T) {
	w := newRenewing(t, 1)
	m := w.planes[0]
	w.turn(0)
	w.wants("at first", 0, w.token(0, 0))
	if m.asked[0] != 30*24*60*60 {
		t.Errorf("%d seconds are asked for", m.asked[0])
	}
	w.turn(239 * time.Hour)
	w.wants("before a third is over", 0, w.token(0, 0))
	w.restart()
	w.turn(0)
	w.wants("after a restart", 0, w.token(0, 0))
	w.turn(25 * time.Hour)
	if len(m.made()) != 2 {
		t.Fatalf("%d tokens were made", len(m.made()))
	}
	w.wants("after a third and its tenth", 0, w.token(0, 1))
	w.restart()
	w.turn(0)
	w.wants("after another restart", 0, w.token(0, 1))

	file := filepath.Join(w.cfg.StateDirectory, "credentials", "m0.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, token := range append(m.made(), w.firsts...) {
		if strings.Contains(w.logs.String(), token) {
			t.Error("a token is in the log")
		}
	}
}

// TestRenewalByWhatIsGranted: an API server that grants an hour is asked every twenty minutes.
func TestRenewalByWhatIsGranted(t *testing.T) {
	w := newRenewing(t, 1)
	m := w.planes[0]
	m.grants = time.Hour
	w.turn(0)
	w.turn(19 * time.Minute)
	if len(m.made()) != 1 {
		t.Errorf("%d tokens were made after 19 minutes", len(m.made()))
	}
	w.turn(4 * time.Minute)
	if len(m.made()) != 2 {
		t.Errorf("%d tokens were made after 23 minutes", len(m.made()))
	}
}

// TestRenewalFails: it is retried ever more slowly, and reported with what was granted once less than a third of that is left.
func TestRenewalFails(t *testing.T) {
	w := newRenewing(t, 1)
	m := w.planes[0]
	w.turn(0)
	m.set(func(m *management) { m.grants = 0 })
	w.turn(300 * time.Hour)
	if strings.Count(w.logs.String(), "Could not renew") != 1 || !strings.Contains(w.logs.String(), "may not ask for tokens of itself (403)") {
		t.Errorf("the log is\n%s", w.logs)
	}
	if next := w.s.cluster.renewal.next.Sub(w.now.Now()); next < firstRenewal || next > 2*firstRenewal {
		t.Errorf("it is retried after %s", next)
	}
	for range 10 {
		w.turn(lastRenewal + time.Minute)
	}
	if next := w.s.cluster.renewal.next.Sub(w.now.Now()); next < lastRenewal || next > lastRenewal+firstRenewal {
		t.Errorf("at last it is retried after %s", next)
	}
	if got := w.s.expiring(); got != nil {
		t.Errorf("half of it is left, and it reports %+v", got)
	}
	w.turn(200 * time.Hour)
	got := w.s.expiring()
	if got == nil || got.GrantedSeconds != 30*24*60*60 || !strings.Contains(got.Problem, "(403)") {
		t.Fatalf("it reports %+v", got)
	}
	text, err := json.Marshal(got)
	if err != nil || strings.Contains(string(text), w.token(0, 0)) {
		t.Errorf("it reports %s, %v", text, err)
	}
	m.set(func(m *management) { m.grants = time.Hour })
	w.turn(lastRenewal + time.Minute)
	if got := w.s.expiring(); got != nil || len(m.made()) != 2 {
		t.Errorf("it is renewed, and reports %+v", got)
	}
}

// TestRenewedIsRefused: the first credential is used again, and asks for another one, not at once.
func TestRenewedIsRefused(t *testing.T) {
	w := newRenewing(t, 1)
	m := w.planes[0]
	w.turn(0)
	m.set(func(m *management) { m.refuses[m.issued[0]] = true })
	w.turn(time.Minute) // it is refused
	if w.s.broken() == nil {
		t.Fatal("the session goes on")
	}
	w.turn(0)
	w.turn(lastAttempt)
	w.wants("after a refusal", 0, m.made()[len(m.made())-1])
	if made := m.made(); len(made) != 2 || !m.wasShown(w.firsts[0]) {
		t.Errorf("%d tokens were made", len(made))
	}
}

// TestNewerFirst: a kubeconfig that a person has put there since is used before what the agent has got itself; one of another cluster alone.
func TestNewerFirst(t *testing.T) {
	w := newRenewing(t, 1)
	m := w.planes[0]
	w.turn(0)
	m.set(func(m *management) { m.grants = 0 })
	newer := jwt(agentSubject, lifetime{w.now.Now().Add(time.Hour), w.now.Now().Add(25 * time.Hour)})
	m.kubeconfig(t, w.cfg.ManagementClusters[0].Kubeconfig, newer)
	w.restart()
	w.turn(2 * time.Hour)
	w.wants("a newer one", 0, newer)

	other := newManagement(t, w.now)
	other.grants = 0
	other.kubeconfig(t, w.cfg.ManagementClusters[0].Kubeconfig, w.firsts[0])
	w.restart()
	w.turn(0)
	if !other.wasShown(w.firsts[0]) || other.wasShown(w.token(0, 0)) {
		t.Error("what one cluster has issued is shown to another")
	}
}

// TestTokenFile reads the first credential where the kubeconfig names it.
func TestTokenFile(t *testing.T) {
	w := newRenewing(t, 1)
	file := w.cfg.ManagementClusters[0].Kubeconfig
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(string(text), fmt.Sprintf("token: %q", w.firsts[0]), "tokenFile: "+file+".token", 1)
	for name, content := range map[string]string{file: named, file + ".token": w.firsts[0] + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.turn(0)
	w.wants("by tokenFile", 0, w.planes[0].made()[0])
	if !w.planes[0].wasShown(w.firsts[0]) {
		t.Error("the first token is not shown")
	}
}

// TestDamagedCredential is no reason to stop: the first one is used.
func TestDamagedCredential(t *testing.T) {
	w := newRenewing(t, 1)
	w.turn(0)
	file := filepath.Join(w.cfg.StateDirectory, "credentials", "m0.json")
	if err := os.WriteFile(file, []byte(`{"token":"`+w.planes[0].made()[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.turn(time.Second)
	w.wants("a damaged file", 0, w.planes[0].made()[1])
	if !strings.Contains(w.logs.String(), "is damaged") || strings.Contains(w.logs.String(), w.planes[0].made()[0]) {
		t.Errorf("the log is\n%s", w.logs)
	}
}
