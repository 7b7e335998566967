package crd

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const validCluster = `
apiVersion: clusterpki.io/v1alpha1
kind: ClusterPKI
metadata: {name: k8s, namespace: prod}
spec:
  endpoint: https://k8s-master:6443
  serviceCIDRs: [10.96.0.0/12]
  controlPlane: {hosts: [{name: k8s-master, addresses: [10.1.10.238]}]}
  nodes: {hosts: [{name: k8s-node1, addresses: [10.1.10.239]}]}
`

const (
	badNode      = "must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is"
	badValidity  = "must be between 10 minutes and 100 years, in hours, minutes and seconds"
	inServices   = "no address of a host may lie within serviceCIDRs"
	badTrigger   = "must not hold control characters, nor begin or end with a blank"
	masterNoNode = "spec.nodes.hosts: a host is in controlPlane.hosts too: remove it from nodes.hosts"
	etcdApart    = "spec.controlPlane.etcd.hosts: must be hosts of their own: for members on the control plane hosts set mode to 'Stacked'"
)

// hosts are items of a list of hosts.
func hosts(names ...string) []any {
	var out []any
	for _, name := range names {
		out = append(out, map[string]any{"name": name})
	}
	return out
}

// host is the one host of a list, with one more field.
func host(field string, value any) []any {
	return []any{map[string]any{"name": "k8s-host", field: value}}
}

func TestClusterPKI(t *testing.T) {
	k := load(t, "clusterpkis")
	runCases(t, k, validCluster, map[string]testCase{
		"one master and one node":   {},
		"nothing more than needed":  {edits: set("spec.nodes", nil)},
		"a thousand nodes":          accepted("spec.nodes.hosts", hosts(names(1000)...)),
		"a node too many":           refused("spec.nodes.hosts", hosts(names(1001)...), "must have at most 1000 items"),
		"IPv6 and both families":    {edits: []edit{{"spec.serviceCIDRs", list("10.96.0.0/12", "fd00:10:96::/112")}, {"spec.nodes.hosts", host("addresses", list("10.0.0.7", "fd00::7"))}}},
		"an endpoint with a path":   accepted("spec.endpoint", "https://api.prod.example/k8s/clusters/c-x"),
		"the seed's identities":     accepted("spec.nodes.roles", list("Host")),
		"a host by its address":     accepted("spec.nodes.hosts", hosts("10.1.10.239")),
		"etcd elsewhere":            {edits: []edit{{"spec.controlPlane.etcd.mode", "External"}, {"spec.controlPlane.etcd.hosts", hosts("etcd1", "etcd2", "etcd3")}}},
		"an etcd that is not ours":  accepted("spec.controlPlane.etcd.mode", "None"),
		"as long a name as may be":  accepted("metadata.name", strings.Repeat("x", 39)),
		"removal without a delay":   accepted("spec.removal.delay", "0s"),
		"removal of one at a time":  accepted("spec.removal.maxHosts", int64(1)),
		"rotated, all at one time":  {edits: []edit{{"spec.rotation.trigger", "2026-11"}, {"spec.rotation.maxUnavailable", "100%"}}},
		"three copies of CAs' keys": {edits: copies("a", "b", "c")},

		"no endpoint":        {edits: set("spec.endpoint", nil), want: "spec.endpoint: "},
		"endpoint by http":   refused("spec.endpoint", "http://k8s-master:6443", badEndpoint),
		"endpoint, no URL":   refused("spec.endpoint", "k8s-master:6443", badEndpoint),
		"endpoint, bad port": refused("spec.endpoint", "https://k8s-master:99999", badEndpoint),

		"no services":                {edits: set("spec.serviceCIDRs", nil), want: "spec.serviceCIDRs: "},
		"services, no network":       refusedItem("spec.serviceCIDRs", badCIDR, "10.96.0.0"),
		"services, too few":          refusedItem("spec.serviceCIDRs", smallCIDR, "10.96.0.0/30"),
		"services of one family":     refused("spec.serviceCIDRs", list("10.96.0.0/12", "10.112.0.0/12"), "must not hold two networks of the same IP family"),
		"a domain with a dot":        refused("spec.clusterDomain", "cluster.local.", "must be a lower-case DNS domain"),
		"a master among services":    {edits: set("spec.controlPlane.hosts", host("addresses", list("10.97.0.7"))), want: "spec.controlPlane.hosts: " + inServices},
		"a node among services":      {edits: set("spec.nodes.hosts", host("addresses", list("10.97.0.7"))), want: "spec.nodes.hosts: " + inServices},
		"no control plane":           {edits: set("spec.controlPlane", nil), want: "spec.controlPlane: "},
		"a control plane of none":    refused("spec.controlPlane.hosts", []any{}, "spec.controlPlane.hosts in body should have at least 1 items"),
		"no control plane hosts":     {edits: []edit{{"spec.controlPlane.hosts", nil}, {"spec.controlPlane.port", int64(6443)}}, want: "spec.controlPlane.hosts: "},
		"a host twice":               {edits: set("spec.nodes.hosts", hosts("a", "b", "a")), want: "spec.nodes.hosts[2]: "},
		"a master that is a node":    {edits: set("spec.nodes.hosts", hosts("k8s-node1", "k8s-master")), want: masterNoNode},
		"etcd on a master":           {edits: external("k8s-master"), want: etcdApart},
		"etcd on a node":             {edits: external("etcd1", "k8s-node1"), want: etcdApart},
		"etcd elsewhere, no host":    {edits: set("spec.controlPlane.etcd.mode", "External"), want: "spec.controlPlane.etcd.hosts: hosts must be set for mode 'External'"},
		"etcd's hosts, and not used": {edits: set("spec.controlPlane.etcd.hosts", hosts("etcd1")), want: "spec.controlPlane.etcd.hosts: hosts must be set for mode 'External'"},
		"a mode that is none":        {edits: set("spec.controlPlane.etcd.mode", "Elsewhere"), want: "spec.controlPlane.etcd.mode: "},
		"port 0":                     {edits: set("spec.controlPlane.port", int64(0)), want: "spec.controlPlane.port: "},
		"a SAN that is a URL":        refusedItem("spec.controlPlane.certSANs", "must be a lower-case DNS name, or an IP address", "https://api.example"),
		"a name too long":            {edits: set("metadata.name", strings.Repeat("x", 40)), want: "metadata: metadata.name must be 39 characters or fewer"},

		"a role that is none":         refusedItem("spec.nodes.roles", `supported values: "Kubelet"`, "Admin"),
		"no role":                     refused("spec.nodes.roles", []any{}, "spec.nodes.roles in body should have at least 1 items"),
		"validity in days":            refused("spec.certificates.validity", "365d", badValidity),
		"validity of a CA in years":   refused("spec.certificateAuthorities.cluster.validity", "10y", badValidity),
		"keys rotated too often":      refused("spec.serviceAccountKey.rotateEvery", "1m", badValidity),
		"keys retained for days":      refused("spec.serviceAccountKey.retainOldKeyFor", "365d", "must be between 1 second and 100 years"),
		"a delay in days":             refused("spec.removal.delay", "1d", "must be between 0 seconds and a year"),
		"a percentage of none":        refused("spec.removal.maxHosts", "ten", "must be a number, or a percentage"),
		"waves of nothing":            refused("spec.rotation.maxUnavailable", "0%", "must be a number from 1, or a percentage"),
		"a trigger with a line break": refused("spec.rotation.trigger", "2026-11\n", badTrigger),
		"an emergency with one":       refused("spec.rotation.emergencyTrigger", "2026-11\n", badTrigger),
		"a key for nobody":            refused("spec.serviceAccountKey.privateKey", map[string]any{"algorithm": "Ed25519"}, "kube-apiserver refuses Ed25519"),
		"a token Secret by its name":  refusedItem("spec.serviceAccountKey.acceptTokenLoss", "must be 'namespace/name' of a Secret, or '*'", "builder"),
		"two copies in one Secret":    {edits: copies("a", "b", "a"), want: "spec.certificateAuthorities: two CAs must not have their copies in one Secret"},
		"a copy over what is read": {
			edits: []edit{{"spec.certificateAuthorities.etcd.secretName", "ca"}, {"spec.certificateAuthorities.etcd.source", importOf("ca")}},
			want:  "spec.certificateAuthorities.etcd.secretName: must differ from source.import.secretRef.name",
		},
		"an emergency that keeps a key": {
			edits: []edit{
				{"spec.rotation.trigger", "leaked"}, {"spec.rotation.emergencyTrigger", "leaked"}, {"spec.certificateAuthorities.etcd.rotation.keyPolicy", "Reuse"},
			},
			want: "spec.certificateAuthorities: an emergency rotation is for keys that are compromised",
		},
		"an import that keeps its key": {
			edits: []edit{{"spec.certificateAuthorities.etcd.rotation.keyPolicy", "Reuse"}, {"spec.certificateAuthorities.etcd.source", importOf("ca")}},
			want:  "spec.certificateAuthorities.etcd.rotation.keyPolicy: only a self-signed CA can keep its key",
		},
		"outputs": accepted("spec.outputs", []any{
			map[string]any{"format": "CAPI"}, output("Flux", "a"), output("ArgoCDCluster", "b"), output("Kamaji", "c"),
		}),
		"an output of a bad name": {edits: set("spec.outputs", []any{output("Flux", "Prod")}), want: "spec.outputs[0].clusterName: must be lower-case letters, digits and '-'"},
		"keys over what is read": {
			edits: set("spec.serviceAccountKey.source.import", map[string]any{"secretRef": map[string]any{"name": "k8s-sa-keys"}, "publicKeysSHA256": strings.Repeat("0", 64)}),
			want:  "spec.serviceAccountKey.source.import.secretRef.name: must not be '<name>-sa-keys'",
		},
	})
	for _, at := range []string{"spec.controlPlane.hosts", "spec.nodes.hosts", "spec.controlPlane.etcd.hosts"} {
		runCases(t, k, validCluster, hostsCases(at))
	}
}

// hostsCases are the mistakes that are made with a host of a list.
func hostsCases(at string) map[string]testCase {
	of := func(what, field string, value any, message string) (string, testCase) {
		item := map[string]any{"name": "k8s-host", field: value}
		edits := set(at, []any{item})
		if strings.Contains(at, "etcd") {
			edits = append(edits, edit{"spec.controlPlane.etcd.mode", "External"})
		}
		return at + ": " + what, testCase{edits: edits, want: message}
	}
	out := map[string]testCase{}
	add := func(name string, tc testCase) { out[name] = tc }
	add(of("upper case", "name", "K8s-host", at+"[0].name: "+badNode))
	add(of("an underscore", "name", "k8s_host", at+"[0].name: "+badNode))
	add(of("an identity", "name", "kubernetes-admin", at+"[0].name: "+identity))
	add(of("too long", "name", strings.Repeat("x", 53), at+"[0].name: "))
	add(of("a network", "addresses", list("10.1.10.0/24"), at+"[0].addresses[0]: "+badIP))
	add(of("a port", "addresses", list("10.1.10.7:6443"), at+"[0].addresses[0]: "+badIP))
	add(of("delivery by nobody", "delivery", map[string]any{"mode": "Post"}, at+"[0].delivery.mode: "))
	if !strings.Contains(at, "etcd") {
		add(of("validity in days", "validity", "365d", at+"[0].validity: "+badValidity))
	}
	return out
}

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("node%d", i))
	}
	return out
}

func external(hostNames ...string) []edit {
	return []edit{{"spec.controlPlane.etcd.mode", "External"}, {"spec.controlPlane.etcd.hosts", hosts(hostNames...)}}
}

func copies(cluster, etcd, frontProxy string) []edit {
	at := "spec.certificateAuthorities."
	return []edit{{at + "cluster.secretName", cluster}, {at + "etcd.secretName", etcd}, {at + "frontProxy.secretName", frontProxy}}
}

func importOf(secret string) map[string]any {
	return map[string]any{"import": map[string]any{"secretRef": map[string]any{"name": secret}, "certificateSHA256": strings.Repeat("0", 64)}}
}

// TestChildren: what a ClusterPKI makes (internal/cluster has the files) is admitted, and has the defaults that internal/defaults says.
func TestChildren(t *testing.T) {
	kinds := map[string]kind{
		"ClusterCA": load(t, "clustercas"), "APIServerCertificate": load(t, "apiservercertificates"), "NodeCredential": load(t, "nodecredentials"),
		"ServiceAccountKey": load(t, "serviceaccountkeys"),
	}
	folder := filepath.Join("..", "..", "internal", "cluster", "testdata")
	for _, name := range []string{"cluster", "everything"} {
		children, filled := documents(t, filepath.Join(folder, name+".yaml")), documents(t, filepath.Join(folder, name+".defaults.yaml"))
		if len(children) == 0 || len(children) != len(filled) {
			t.Fatalf("%s: %d children, and %d with defaults", name, len(children), len(filled))
		}
		for i, child := range children {
			k := kinds[child.GetKind()]
			if errs := k.admit(t, child.DeepCopy()); len(errs) > 0 {
				t.Errorf("%s %s: %v", child.GetKind(), child.GetName(), errs.ToAggregate())
			}
			defaulting.Default(child.Object, k.structural)
			if a, b := oneSpelling(child.Object["spec"]), oneSpelling(filled[i].Object["spec"]); !reflect.DeepEqual(a, b) {
				t.Errorf("%s %s: the API server says %v, internal/defaults %v", child.GetKind(), child.GetName(), a, b)
			}
		}
	}
}

// oneSpelling is a value in which each duration is written in one way: 72h and 72h0m0s are the same.
func oneSpelling(value any) any {
	switch v := value.(type) {
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String()
		}
	case map[string]any:
		for name, of := range v {
			v[name] = oneSpelling(of)
		}
	case []any:
		for i, of := range v {
			v[i] = oneSpelling(of)
		}
	}
	return value
}

// documents are the objects in a file.
func documents(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(read(t, file), "---\n") {
		if document != "" {
			out = append(out, parse(t, document))
		}
	}
	return out
}
