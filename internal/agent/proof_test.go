package agent

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
)

// TestServiceAccountKeysInUse: a rotation reaches a host in two steps. After each the API server is restarted, the controller manager only for another
// key that signs, and only then the keys are acknowledged.
func TestServiceAccountKeysInUse(t *testing.T) {
	first, next := accountKey(t), accountKey(t)
	w := running(t, first)
	w.uses(digestOf(t, first), "")
	if len(w.api.restarts) > 0 {
		t.Errorf("what nobody has read is reloaded: %v", w.api.restarts)
	}

	both := w.publish(first, next)
	w.steps()
	w.uses(digestOf(t, first), "")
	if len(w.api.restarts) > 0 {
		t.Errorf("%v, and it is not this host's turn", w.api.restarts)
	}
	w.name(both, time.Time{})
	w.settles()
	w.uses(both, "")

	w.name(w.publish(next, first), at())
	w.settles()
	w.uses(digestOf(t, next, first), "")

	w.name(w.publish(next), at())
	w.settles()
	w.uses(digestOf(t, next), "")
	if diff := cmp.Diff([]string{"kube-apiserver", "kube-apiserver", "kube-controller-manager", "kube-apiserver"}, w.api.restarts); diff != "" {
		t.Errorf("restarts (-want +got):\n%s", diff)
	}
}

func digestOf(t *testing.T, keys ...pki.PrivateKey) string {
	t.Helper()
	s, err := ack.StateOf(tlsSecret(t), accountSecret(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	return s.Contents["k8s-sa/sa.pub"]
}

// TestServiceAccountKeysNotInUse: an API server that works with other keys than those that are installed is told of, and acknowledges none; the certificate
// and the bundles are acknowledged all the same.
func TestServiceAccountKeysNotInUse(t *testing.T) {
	first, next, other := accountKey(t), accountKey(t), accountKey(t)
	for name, keys := range map[string][]pki.PrivateKey{
		"it was not restarted": {first, first},
		"another order":        {first, next, first},
		"a key more":           {first, first, next, other},
		"a key fewer":          {first, first, other},
		"another one signs":    {next, first, next},
		"none of those signs":  {other, first, next},
		"it accepts none":      {first},
	} {
		t.Run(name, func(t *testing.T) {
			w := running(t, first)
			w.run = func(context.Context, []string) (string, error) {
				return "", w.api.use(keys[0].Public(), publicOf(keys[1:])...)
			}
			w.name(w.publish(first, next), time.Time{})
			w.settles()
			w.uses("", "NotInUse")
			r := w.report()
			for content, digest := range r.Installed.Contents {
				if content != "k8s-sa/sa.pub" && r.Verified.Contents[content] != digest {
					t.Errorf("%s is not acknowledged", content)
				}
			}
			w.run = w.api.run
			if err := w.api.load(); err != nil { // somebody restarts it
				t.Fatal(err)
			}
			w.settles()
			w.uses(digestOf(t, first, next), "")
		})
	}
}

// TestTargetAccessMissing: without an identity that may ask, nothing is proved, and it is told what to do. Everything else is acknowledged.
func TestTargetAccessMissing(t *testing.T) {
	key := accountKey(t)
	for name, c := range map[string]struct {
		refuses map[string]int
		config  func(*Config)
		told    []string
	}{
		"no credential": {config: func(c *Config) {
			c.Credentials[0].Role, c.Credentials[0].Custom = "Custom", &Custom{CommonName: "ops", Usages: []string{"ClientAuth"}}
		}, told: []string{"add a NodeCredential of role ControllerManager"}},
		"its certificate is refused": {refuses: map[string]int{accountPath + "/token": http.StatusUnauthorized}, told: []string{"NodeCredential/manager", "401"}},
		"it may make no tokens": {refuses: map[string]int{accountPath + "/token": http.StatusForbidden},
			told: []string{"NodeCredential/manager", "ClusterRole system:kube-controller-manager"}},
		"the token may not read":    {refuses: map[string]int{keySetPath: http.StatusForbidden}, told: []string{"system:service-account-issuer-discovery"}},
		"nothing is served to read": {refuses: map[string]int{keySetPath: http.StatusNotFound}, told: []string{"--service-account-issuer"}},
	} {
		t.Run(name, func(t *testing.T) {
			mods := []func(*Config){}
			if c.config != nil {
				mods = append(mods, c.config)
			}
			w := running(t, key, mods...)
			w.api.refuses = c.refuses
			w.Agent = w.restarted(w.cfg)
			next := w.publish(key, accountKey(t))
			w.name(next, time.Time{})
			w.settles()
			before := digestOf(t, key)
			if c.refuses == nil {
				before = "" // it never was seen
			}
			w.uses(before, "TargetAccessMissing")
			r := w.report()
			for _, word := range c.told {
				if !strings.Contains(r.Problem, word) {
					t.Errorf("the agent says %q, without %q", r.Problem, word)
				}
			}
			if r.Verified == nil || r.Verified.Contents["apiserver-tls/ca.crt"] != r.Installed.Contents["apiserver-tls/ca.crt"] ||
				r.Verified.SerialNumber != r.Installed.SerialNumber {
				t.Errorf("it acknowledges nothing else: %+v", r.Verified)
			}
		})
	}
}

// TestNotReadyIsNoProof: an API server that does not answer yet, or answers nonsense, proves nothing and loses nothing.
func TestNotReadyIsNoProof(t *testing.T) {
	first, next := accountKey(t), accountKey(t)
	for path, c := range map[string]struct {
		status int
		says   string
		told   string
	}{
		"/readyz":              {http.StatusInternalServerError, "", "not ready"},
		accountPath + "/token": {http.StatusCreated, `{"status":{"token":"e30.e30.x"}}`, "does not say which key"},
		keySetPath:             {http.StatusOK, "<html>", "something else"},
	} {
		w := running(t, first)
		w.api.answers[path] = func(w http.ResponseWriter) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.says)
		}
		w.name(w.publish(first, next), time.Time{})
		w.settles()
		w.uses(digestOf(t, first), c.told)
		if strings.Contains(w.logs.String(), "e30.e30") {
			t.Error("a token is logged")
		}
		delete(w.api.answers, path)
		w.settles()
		w.uses(digestOf(t, first, next), "")
	}
	w := running(t, first)
	w.api.refuses[accountPath+"/token"] = http.StatusNotFound
	w.name(w.publish(first, next), time.Time{})
	w.settles()
	w.uses(digestOf(t, first), "is kube-controller-manager running?")
}

// TestTokensAreListed: while an earlier key is trusted, the Secrets that it may have signed tokens for are counted, again and again. Where they cannot be
// listed, that is no count.
func TestTokensAreListed(t *testing.T) {
	first, next := accountKey(t), accountKey(t)
	w := running(t, first)
	switched := at()
	secret := func(name string, since time.Duration) metav1.PartialObjectMetadata {
		return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(switched.Add(since))}}
	}
	w.api.secrets = []metav1.PartialObjectMetadata{secret("old", -time.Hour), secret("last", -time.Second), secret("at", 0), secret("new", time.Hour)}
	if w.settles(); w.report().Tokens != nil || w.api.asked["/api/v1/secrets"] > 0 {
		t.Errorf("Secrets are listed, and no earlier key is trusted: %+v", w.report().Tokens)
	}
	lists := func(want ack.Tokens) {
		t.Helper()
		want.Before = switched
		text, err := w.report().Text()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, ack.Of(leaseSaying(text)).Tokens); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	w.api.refuses["/api/v1/secrets"] = http.StatusForbidden
	w.name(w.publish(next, first), switched)
	w.steps()
	lists(ack.Tokens{})
	if !strings.Contains(w.logs.String(), "TargetAccessMissing") {
		t.Error("it is not logged why")
	}
	delete(w.api.refuses, "/api/v1/secrets")
	w.passes(listRetry)
	lists(ack.Tokens{Listed: true, Count: 2, Names: []string{"default/last", "default/old"}})
	w.api.secrets = w.api.secrets[1:]
	w.passes(listAgain - time.Second)
	lists(ack.Tokens{Listed: true, Count: 2, Names: []string{"default/last", "default/old"}})
	w.passes(time.Second)
	lists(ack.Tokens{Listed: true, Count: 1, Names: []string{"default/last"}})

	w.api.refuses["/api/v1/secrets"] = http.StatusServiceUnavailable // what was listed before still holds
	w.api.secrets = nil
	w.passes(listAgain)
	lists(ack.Tokens{Listed: true, Count: 1, Names: []string{"default/last"}})
	switched = switched.Add(time.Minute) // but not for another switch
	w.name(digestOf(t, next, first), switched)
	w.steps()
	lists(ack.Tokens{})
	w.name(w.publish(next), time.Time{})
	if w.steps(); w.report().Tokens != nil {
		t.Errorf("Secrets are told, and no earlier key is trusted: %+v", w.report().Tokens)
	}
}

// TestListedSecretsAreNotRead: an answer that is no list of metadata counts as none.
func TestListedSecretsAreNotRead(t *testing.T) {
	first, next := accountKey(t), accountKey(t)
	w := running(t, first)
	w.api.answers["/api/v1/secrets"] = func(w http.ResponseWriter) {
		fmt.Fprint(w, `{"kind":"SecretList","items":[{"metadata":{"namespace":"a","name":"b"},"data":{"token":"c2VjcmV0"}}]}`)
	}
	w.name(w.publish(next, first), at())
	w.settles()
	if got := w.report().Tokens; got == nil || got.Listed || strings.Contains(w.logs.String(), "c2VjcmV0") {
		t.Errorf("%+v", got)
	}
}
