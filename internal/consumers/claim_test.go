package consumers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

func fullClaim() consumers.Claim {
	return consumers.Claim{
		UID: "u", Trust: map[string]map[string]int64{"ca.crt": {"k8s": 7, "root": 2}, "client-ca.crt": {"k8s": 5}}, Issuer: "etcd", Generation: 3,
		Changed: now, SpecHash: "h", Revision: 4, Left: []string{"old"},
	}
}

func annotated(text string) map[string]string {
	return map[string]string{v1alpha1.ClaimAnnotation: text}
}

// TestAClaimCountsOnlyWhereItWasMade: not copied, cut, changed, or made by anybody else.
func TestAClaimCountsOnlyWhereItWasMade(t *testing.T) {
	text := fullClaim().Text(seal, "Secret", "prod", "a")
	got, ok := consumers.ParseClaim(seal, annotated(text), "Secret", "prod", "a")
	if diff := cmp.Diff(fullClaim(), got); !ok || diff != "" {
		t.Errorf("%v, another claim comes back:\n%s", ok, diff)
	}
	if diff := cmp.Diff(fullClaim(), consumers.Unsealed(annotated(text))); diff != "" {
		t.Errorf("without proof another comes back:\n%s", diff)
	}
	large := fullClaim()
	large.SpecHash = strings.Repeat("x", 32<<10)
	for name, tc := range map[string]struct{ text, kind, namespace, object string }{
		"another name":                     {text, "Secret", "prod", "b"},
		"another namespace":                {text, "Secret", "test", "a"},
		"another kind":                     {text, "ConfigMap", "prod", "a"},
		"name and namespace cut elsewhere": {text, "Secret", "proda", ""},
		"cut short":                        {text[:len(text)-1], "Secret", "prod", "a"},
		"changed":                          {strings.Replace(text, `"uid":"u"`, `"uid":"v"`, 1), "Secret", "prod", "a"},
		"no seal":                          {text[strings.Index(text, " "):], "Secret", "prod", "a"},
		"no text":                          {seal.Of("Secret", "prod", "a", ""), "Secret", "prod", "a"},
		"no JSON":                          {seal.Of("Secret", "prod", "a", "x") + " x", "Secret", "prod", "a"},
		"nothing":                          {"", "Secret", "prod", "a"},
		"somebody else's":                  {fullClaim().Text(sealed("other"), "Secret", "prod", "a"), "Secret", "prod", "a"},
		"too large":                        {large.Text(seal, "Secret", "prod", "a"), "Secret", "prod", "a"},
	} {
		if c, ok := consumers.ParseClaim(seal, annotated(tc.text), tc.kind, tc.namespace, tc.object); ok || c.UID != "" {
			t.Errorf("%s: it counts, as %+v", name, c)
		}
	}
	for _, text := range []string{"", "x", "x x", large.Text(seal, "Secret", "prod", "a")} {
		if c := consumers.Unsealed(annotated(text)); c.UID != "" {
			t.Errorf("%.20q reads as %+v", text, c)
		}
	}
}

func TestWhatAClaimDependsOn(t *testing.T) {
	if diff := cmp.Diff(map[string]int64{"k8s": 5, "root": 2}, fullClaim().Revisions()); diff != "" {
		t.Error(diff)
	}
	if got := fullClaim().CAs(); !slices.Equal(got, []string{"etcd", "k8s", "root"}) {
		t.Errorf("%v", got)
	}
	if got := (consumers.Claim{}).CAs(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestAfter: since when an object holds what it holds, and what it depended on before.
func TestAfter(t *testing.T) {
	long, next := now.Add(-time.Hour), now.Add(time.Second)
	was := consumers.Claim{Issuer: "k8s", Generation: 1, Trust: map[string]map[string]int64{"ca.crt": {"k8s": 1}}, Changed: long, Left: []string{"older"}}
	same := consumers.Claim{Issuer: "k8s", Generation: 1, Trust: was.Trust}
	moved := consumers.Claim{Issuer: "etcd", Generation: 1, Trust: map[string]map[string]int64{"ca.crt": {"etcd": 1}}}
	back := consumers.Claim{Issuer: "older", Generation: 1, Trust: was.Trust}
	future := was
	future.Changed = now.Add(time.Hour)
	for name, tc := range map[string]struct {
		claim, was       consumers.Claim
		changed, settled bool
		since            time.Time
		left             []string
	}{
		"a renewal by the same key":            {same, was, false, true, long, nil},
		"the same, and not settled":            {same, was, false, false, long, []string{"older"}},
		"another bundle":                       {same, was, true, true, next, nil},
		"another key of the CA":                {consumers.Claim{Issuer: "k8s", Generation: 2, Trust: was.Trust}, was, false, true, next, nil},
		"another CA":                           {moved, was, true, true, next, []string{"k8s"}},
		"another CA, before the last has left": {moved, was, true, false, next, []string{"k8s", "older"}},
		"back again":                           {back, was, false, false, next, nil},
		"the first":                            {same, consumers.Claim{}, true, true, next, nil},
		"noted by a clock that was ahead":      {same, future, false, true, next, nil},
	} {
		got := tc.claim.After(tc.was, now.Add(300*time.Millisecond), tc.changed, tc.settled)
		if !got.Changed.Equal(tc.since) || !slices.Equal(got.Left, tc.left) {
			t.Errorf("%s: since %v, left %v", name, got.Changed, got.Left)
		}
	}
}

// TestLeftIsBounded: an object that goes on from CA to CA has a claim that can be read, and once it has left more of them than are noted, every other one counts
// as left until what it holds has arrived.
func TestLeftIsBounded(t *testing.T) {
	name := func(n int) string { return fmt.Sprintf("%0253d", n) }
	c := consumers.Claim{}
	for n := range 40 {
		next := consumers.Claim{Issuer: name(n), Trust: map[string]map[string]int64{}}
		for _, key := range []string{"ca.crt", "client-ca.crt", "requestheader-ca.crt"} {
			next.Trust[key] = map[string]int64{name(n): 1}
		}
		for i := range 16 { // as many as a template has
			next.Template.Labels = append(next.Template.Labels, strings.Repeat("l", 300)+fmt.Sprint(i))
			next.Template.Annotations = append(next.Template.Annotations, strings.Repeat("a", 300)+fmt.Sprint(i))
		}
		c = next.After(c, now, true, false)
		got, ok := consumers.ParseClaim(seal, annotated(c.Text(seal, "Secret", "prod", "a")), "Secret", "prod", "a")
		if diff := cmp.Diff(c.Left, got.Left); !ok || diff != "" {
			t.Fatalf("after %d CAs it reads as %v:\n%s", n, ok, diff)
		}
		for was := range n {
			if !c.MayHaveLeft(name(was)) {
				t.Fatalf("after %d CAs it has not left %d", n, was)
			}
		}
		if all := n > 32; c.MayHaveLeft("another") != all {
			t.Errorf("after %d CAs it may have left every one: %t", n, !all)
		}
	}
	if settled := c.After(c, now, false, true); len(settled.Left) > 0 {
		t.Errorf("once what it holds is in use it has left %v", settled.Left)
	}
}
