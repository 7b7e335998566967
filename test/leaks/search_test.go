package leaks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/cli"
)

// kinds are the places that private keys are in, and no other is one. A new kind of key needs a row here, and a step of the run that has it made.
var kinds = map[string]*regexp.Regexp{
	"a generation of a CA":                     regexp.MustCompile(`^clusterpki-authority/ca\.\S+ g\d+\.key$`),
	"a service account key":                    regexp.MustCompile(`^clusterpki-authority/sak\.\S+ k\d+\.key$`),
	"what signs for the agents of a namespace": regexp.MustCompile(`^clusterpki-authority/delivery\.\S+ \S+\.key$`),
	"the key of seals":                         regexp.MustCompile(`^clusterpki-authority/seal key$`),
	"a copy of a CA's key":                     regexp.MustCompile(`^\w+/copied tls\.key$`),
	"a CA's key for another program":           regexp.MustCompile(`^\w+/(output-ca tls|tenant-ca (tls|ca))\.key$`),
	"account keys for another program":         regexp.MustCompile(`^\w+/(output-sa tls|tenant-sa-certificate sa)\.key$`),
	"a credential for another program":         regexp.MustCompile(`^\w+/output-\w+-(kubeconfig value|flux value|argocd config)$`),
	"a CA's key that others made":              regexp.MustCompile(`^a key of somebody else$`),
	"a CA's key to import":                     regexp.MustCompile(`^\w+/(offline|import-\S+) tls\.(key|crt)$`),
	"service account tokens":                   regexp.MustCompile(`^\w+/k8s-sa sa\.key$`),
	"an API server's certificate":              regexp.MustCompile(`^\w+/k8s-master-tls tls\.key$`),
	"a credential's certificate":               regexp.MustCompile(`^\w+/\S+-tls tls\.key$`),
	"beside a kubeconfig":                      regexp.MustCompile(`^\w+/\S+-kubeconfig tls\.key$`),
	"in a kubeconfig":                          regexp.MustCompile(`^\w+/\S+-kubeconfig value$`),
	"made by a host's agent":                   regexp.MustCompile(`^host k8s-node1/state/keys/own-key\.key$`),
	"installed by a host's agent":              regexp.MustCompile(`^host k8s-node1/kubernetes/\S+$`),
	"made by a person on a host":               regexp.MustCompile(`^host k8s-node9/own\.key$`),
}

// certain are places that a whole run fills, beside those of which each kind has one.
var certain = []string{
	home + "/ca.prod.k8s g1.key", home + "/ca.prod.front-proxy g1.key", home + "/ca.prod.etcd g1.key", // that the operator made
	home + "/ca.prod.imported g1.key", home + "/ca.prod.below g1.key", home + "/ca.prod.below g2.key", // before a rotation, and after it
	home + "/ca.drill.k8s g1.key", home + "/ca.anew.k8s g1.key", // restored, and released
	home + "/sak.prod.k8s-sa k1.key", home + "/sak.prod.k8s-sa k2.key", // before a rotation, and in it
	home + "/delivery.prod delivery.key", home + "/delivery.prod next.key",
	"prod/rsa-tls tls.key", "prod/ecdsa-tls tls.key", "prod/ed25519-tls tls.key", "prod/rsa-kubeconfig value",
	"prod/output-ca tls.key", "prod/tenant-ca tls.key", "prod/tenant-ca ca.key", "prod/output-sa tls.key", "prod/tenant-sa-certificate sa.key",
	"prod/output-rsa-kubeconfig value", "prod/output-rsa-flux value", "prod/output-rsa-argocd config",
}

// complete says whether every kind of key was looked for, and whether there was a key of a kind that nobody knows of.
func (k *keyring) complete() (faults []string) {
	all := slices.Concat(slices.Collect(maps.Values(k.places))...)
	for kind, place := range kinds {
		if !slices.ContainsFunc(all, place.MatchString) {
			faults = append(faults, "no key was looked for of the kind: "+kind)
		}
	}
	for _, place := range all {
		if !slices.ContainsFunc(slices.Collect(maps.Values(kinds)), func(kind *regexp.Regexp) bool { return kind.MatchString(place) }) {
			faults = append(faults, "a key is in a place of no known kind: "+place)
		}
	}
	for _, place := range certain {
		if !slices.Contains(all, place) {
			faults = append(faults, "no key was looked for that is in "+place)
		}
	}
	return faults
}

// without are the commands that the run leaves out, each with its reason.
var without = map[string]string{
	"clusterpki completion": "a script for a shell, which reads nothing",
	"clusterpki help":       "what is compiled into the program",
}

// everyCommand says whether each command was run.
func (r *run) everyCommand(c *cobra.Command) {
	r.t.Helper()
	path := c.CommandPath()
	if without[path] != "" {
		return
	}
	for _, below := range c.Commands() {
		r.everyCommand(below)
	}
	ran := func(source string) bool { return source == path || strings.HasPrefix(source, path+" ") }
	if c.Runnable() && !slices.ContainsFunc(slices.Collect(maps.Keys(r.said)), ran) {
		r.t.Errorf("`%s` was not run", path)
	}
}

// answered is an audit log without what was sent and refused: there stands the mistake as it was made.
func (r *run) answered(log []byte) []byte {
	r.t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(log) {
		var event struct {
			ResponseStatus struct{ Code int }
			RequestObject  json.RawMessage
		}
		if err := json.Unmarshal(line, &event); err != nil {
			r.t.Fatal(err)
		}
		if event.ResponseStatus.Code >= http.StatusBadRequest && len(event.RequestObject) > 0 {
			line = bytes.Replace(line, event.RequestObject, []byte("{}"), 1)
		}
		out.Write(line)
	}
	return out.Bytes()
}

// search looks for every key in everything.
func (r *run) search() {
	r.t.Helper()
	audit, err := os.ReadFile(shared.audit)
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(r.sink("the audit log"), "%s", r.answered(audit))
	r.mu.Lock()
	defer r.mu.Unlock()
	size := 0
	for _, source := range slices.Sorted(maps.Keys(r.said)) {
		text := r.said[source].Bytes()
		size += len(text)
		for _, found := range r.keys.in(text) {
			r.t.Errorf("%s shows the key of %s", source, found)
		}
		unknown := newKeyring()
		if unknown.addAll(source, bytes.ReplaceAll(text, []byte(`\n`), []byte("\n"))) > 0 {
			r.t.Errorf("%s holds a private key", source)
		}
	}
	r.t.Logf("looked for %d keys in %d sources of %d bytes", len(r.keys.places), len(r.said), size)
	for _, fault := range r.keys.complete() {
		r.t.Error(fault)
	}
	r.everyCommand(cli.Named("clusterpki"))
	for _, want := range []string{"Event", "configmaps", "leases", "conditions"} {
		if !bytes.Contains(audit, []byte(want)) {
			r.t.Errorf("the audit log holds no %s", want)
		}
	}
}

// TestComplete leaves each kind of key out of the search once, and adds one that nobody knows of.
func TestComplete(t *testing.T) {
	whole := func() *keyring {
		k := newKeyring()
		for i, place := range append(slices.Clone(certain), home+"/seal key", "prod/copied tls.key", "a key of somebody else", "prod/offline tls.key", "prod/k8s-sa sa.key",
			"prod/k8s-master-tls tls.key", "prod/rsa-kubeconfig tls.key", "host k8s-node1/state/keys/own-key.key", "host k8s-node1/kubernetes/pki/kubelet.key", "host k8s-node9/own.key") {
			k.places[fmt.Sprint(i)] = []string{place}
		}
		return k
	}
	if faults := whole().complete(); faults != nil {
		t.Fatal(faults)
	}
	for id, place := range whole().places {
		k := whole()
		delete(k.places, id)
		if k.complete() == nil {
			t.Errorf("nobody misses the key in %s", place)
		}
	}
	k := whole()
	k.places["new"] = []string{"prod/k8s-webhook webhook.key"}
	if k.complete() == nil {
		t.Error("nobody sees a key of another kind")
	}
}
