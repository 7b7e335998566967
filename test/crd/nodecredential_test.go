package crd

import (
	"fmt"
	"strings"
	"testing"
)

const validCredential = `
apiVersion: clusterpki.io/v1alpha1
kind: NodeCredential
metadata: {name: k8s-node1-kubelet, namespace: prod}
spec:
  caRef: {name: k8s}
  apiServerRef: {name: k8s-master}
  hostName: k8s-node1
  role: Kubelet
  kubeconfig: {}
`

const (
	forServers = "spec: dnsNames and ipAddresses are only for roles that serve"
	forUsers   = "spec.kubeconfig: kubeconfig is only for roles that are users of the API server"
	reserved   = "must not begin with 'system:', which Kubernetes reserves: use the role for that identity"
)

// serving are edits that make the valid credential one of a role that serves.
var serving = []edit{{"spec.role", "EtcdServer"}, {"spec.kubeconfig", nil}}

func custom(commonName string, organizations []any, usages ...string) edit {
	c := map[string]any{"commonName": commonName, "usages": list(usages...)}
	if organizations != nil {
		c["organizations"] = organizations
	}
	return edit{"spec.custom", c}
}

func TestNodeCredential(t *testing.T) {
	k := load(t, "nodecredentials")
	cases := map[string]testCase{
		"a kubelet":          {},
		"without kubeconfig": {edits: []edit{{"spec.kubeconfig", nil}, {"spec.apiServerRef", nil}}},
		"longest node name":  accepted("spec.hostName", strings.Repeat("x", 52)),
		"longest host name":  {edits: []edit{{"spec.hostName", strings.Repeat("x", 31) + "." + strings.Repeat("x", 32)}, {"spec.role", "Host"}}},
		"etcd, dual stack": {edits: append([]edit{
			{"spec.dnsNames", list("*.etcd.svc", "xn--mnchen-3ya.example")}, {"spec.ipAddresses", list("10.0.0.1", "2001:db8::1")},
		}, serving...)},
		"outputs": accepted("spec.outputs", []any{
			output("CAPI", "prod"), output("Flux", "prod"), output("ArgoCDCluster", "production"),
		}),
		"outputs of etcd's client": {edits: []edit{
			{"spec.role", "EtcdClient"}, {"spec.kubeconfig", nil}, {"spec.outputs", []any{output("CAPI", "prod")}},
		}},
		"outputs without a kubeconfig": {
			edits: []edit{{"spec.kubeconfig", nil}, {"spec.outputs", []any{output("CAPI", "prod")}}}, want: "spec.outputs: outputs need a kubeconfig",
		},
		"a kubeconfig of etcd's client": {
			edits: []edit{{"spec.role", "EtcdClient"}, {"spec.kubeconfig", nil}, {"spec.outputs", []any{output("Flux", "prod")}}},
			want:  "spec.outputs: outputs need a kubeconfig",
		},
		"outputs of a key on the host": {
			edits: []edit{{"spec.keySource", "Host"}, {"spec.delivery.mode", "Agent"}, {"spec.outputs", []any{output("Flux", "prod")}}},
			want:  "spec.outputs: outputs hold the private key",
		},
		"an output for Kamaji":     {edits: set("spec.outputs", []any{output("Kamaji", "prod")}), want: `spec.outputs[0].format: supported values: "CAPI", "Flux", "ArgoCDCluster"`},
		"an output twice":          {edits: set("spec.outputs", []any{output("Flux", "a"), output("Flux", "b")}), want: "spec.outputs[1]: "},
		"an output of no cluster":  {edits: set("spec.outputs", []any{map[string]any{"format": "Flux"}}), want: "spec.outputs[0].clusterName: "},
		"an output of a bad name":  {edits: set("spec.outputs", []any{output("Flux", "Prod")}), want: "spec.outputs[0].clusterName: must be lower-case letters, digits and '-'"},
		"a user that is asked for": accepted("spec.kubeconfig.userName", "jane@prod"),
		"a user with a blank":      refused("spec.kubeconfig.userName", "jane doe", "must be printable ASCII characters without spaces"),
		"own Secrets":              {edits: []edit{{"spec.secretName", "a"}, {"spec.kubeconfig.secretName", "b"}}},

		"a CA that cannot be":     refused("spec.caRef.name", "x ", "must be a valid name of an object"),
		"a server that cannot be": refused("spec.apiServerRef.name", "X", "must be a valid name of an object"),
		"no role":                 {edits: set("spec.role", nil), want: "spec.role: "},
		"unknown role":            refused("spec.role", "Master", `supported values: "Kubelet", "KubeProxy"`),
		"long node name":          refused("spec.hostName", strings.Repeat("x", 53), "hostName must be at most 52 characters for this role"),
		"SANs for a client":       {edits: set("spec.dnsNames", list("a")), want: forServers},
		"IPs for a client":        {edits: set("spec.ipAddresses", list("10.0.0.1")), want: forServers},
		"no API server":           {edits: set("spec.apiServerRef", nil), want: "spec.apiServerRef: apiServerRef must be set where kubeconfig is"},
		"one Secret for both": {
			edits: []edit{{"spec.secretName", "a"}, {"spec.kubeconfig.secretName", "a"}},
			want:  "spec.kubeconfig.secretName: kubeconfig.secretName must differ from secretName",
		},
		"a directory of Windows": accepted("spec.kubeconfig.directory", "C:/Program Files/k"),
		"backslashes":            refused("spec.kubeconfig.directory", `C:\k`, "must be an absolute path of plain names, such as '/etc/kubernetes' or 'C:/k'"),
		"a drive alone":          refused("spec.kubeconfig.directory", "C:k", "must be an absolute path of plain names"),
		"relative directory":     refused("spec.kubeconfig.directory", "etc", "must be an absolute path of plain names"),
		"climbing directory":     refused("spec.kubeconfig.directory", "/etc/../root", "must be an absolute path of plain names"),
		"bad context":            refused("spec.kubeconfig.namespace", "Default", "must be a valid namespace name"),
		"bad Secret name":        refused("spec.secretName", "a_b", "must be a valid Secret name"),
		"bad kubeconfig name":    refused("spec.kubeconfig.secretName", "a/b", "must be a valid Secret name"),
		"the default of the other Secret": {
			edits: []edit{{"metadata.name", "x"}, {"spec.kubeconfig.secretName", "x-tls"}},
			want:  "spec.kubeconfig.secretName: kubeconfig.secretName must differ from secretName",
		},
		"the default of the other Secret, turned round": {
			edits: []edit{{"metadata.name", "x"}, {"spec.kubeconfig", map[string]any{}}, {"spec.secretName", "x-kubeconfig"}},
			want:  "spec.kubeconfig.secretName: kubeconfig.secretName must differ from secretName",
		},

		"very long name": {edits: set("metadata.name", strings.Repeat("x", 201)), want: "metadata: metadata.name must be 200 characters or fewer"},
	}
	for _, role := range []string{"Kubelet", "KubeProxy", "ControllerManager", "Scheduler", "Admin", "SuperAdmin", "Host"} {
		cases["kubeconfig for "+role] = accepted("spec.role", role)
	}
	for _, role := range []string{
		"APIServerKubeletClient", "FrontProxyClient", "EtcdServer", "EtcdPeer", "EtcdClient", "EtcdHealthcheckClient", "KubeletServing",
	} {
		cases["no kubeconfig for "+role] = testCase{edits: set("spec.role", role), want: forUsers}
		cases["role "+role] = testCase{edits: []edit{{"spec.role", role}, {"spec.kubeconfig", nil}}}
	}
	runCases(t, k, validCredential, cases)
	runCases(t, k, validCredential, hostCases(t, k, nil))
	runCases(t, k, validCredential, nameCases(serving))
	runCases(t, k, validCredential, durationCases())
	runCases(t, k, validCredential, keyCases())
	runCases(t, k, validCredential, deliveryCases())
}

// TestSecretTemplate has the same field of each kind.
func TestSecretTemplate(t *testing.T) {
	many := map[string]any{}
	for i := range 17 {
		many[strings.Repeat("x", i+1)] = "y"
	}
	cases := map[string]testCase{
		"labels":            accepted("spec.secretTemplate.labels", map[string]any{"team": "a", "example.org/x_y.z": "A.b_c-1", "cluster.x-k8s.io/cluster-name": "", "myclusterpki.io/x": "y"}),
		"annotations":       accepted("spec.secretTemplate.annotations", map[string]any{"reflector.v1.k8s.emberstack.com/reflection-allowed": "true", "note": "any text\n"}),
		"nothing":           accepted("spec.secretTemplate", map[string]any{}),
		"too many":          refused("spec.secretTemplate.labels", many, "must have at most 16 items"),
		"a long annotation": {edits: set("spec.secretTemplate.annotations", map[string]any{"x": strings.Repeat("y", 1025)}), want: "spec.secretTemplate.annotations.x: may not be more than 1024 bytes"},
	}
	for _, taken := range []string{"clusterpki.io/managed", "clusterpki.io/claim", "sub.clusterpki.io/x", "app.kubernetes.io/managed-by", "velero.io/restore-name"} {
		cases["label "+taken] = refused("spec.secretTemplate.labels", map[string]any{taken: "x"}, "names of 'clusterpki.io'")
	}
	cases["annotation of ours"] = refused("spec.secretTemplate.annotations", map[string]any{"clusterpki.io/claim": "x"}, "must have valid names of annotations")
	for _, bad := range []string{"", "-x", "x/", "X.org/x", "a b", "x\n", strings.Repeat("x", 64), strings.Repeat("x", 318)} {
		cases[fmt.Sprintf("annotation %q", bad)] = refused("spec.secretTemplate.annotations", map[string]any{bad: "x"}, "must have valid names of annotations")
	}
	for _, bad := range []string{"a b", "-a", strings.Repeat("x", 64), "é"} {
		cases[fmt.Sprintf("label's value %q", bad)] = refused("spec.secretTemplate.labels", map[string]any{"x": bad}, "must be valid labels")
	}
	runCases(t, load(t, "nodecredentials"), validCredential, cases)
	runCases(t, load(t, "apiservercertificates"), validServer, cases)
	runCases(t, load(t, "clustercas"), validCA, cases)
}

// TestKeySource is about keys that stay on hosts.
func TestKeySource(t *testing.T) {
	const request = "-----BEGIN CERTIFICATE REQUEST-----\nMIH=\n-----END CERTIFICATE REQUEST-----\n"
	host := func(edits ...edit) []edit { return append(set("spec.keySource", "Host"), edits...) }
	runCases(t, load(t, "nodecredentials"), validCredential, map[string]testCase{
		"of the operator":     accepted("spec.keySource", "Operator"),
		"a request":           {edits: host(edit{"spec.request", request})},
		"an agent":            {edits: host(edit{"spec.delivery.mode", "Agent"})},
		"an agent, and both":  {edits: host(edit{"spec.delivery.mode", "Agent"}, edit{"spec.request", request})},
		"nobody who asks":     {edits: host(), want: "spec.keySource: keySource 'Host' needs a request, or delivery.mode 'Agent'"},
		"nobody, by hand":     {edits: host(edit{"spec.delivery.mode", "Manual"}), want: "spec.keySource: keySource 'Host' needs a request"},
		"request and no host": {edits: set("spec.request", request), want: "spec.request: request is only for keySource 'Host'"},
		"unknown source":      {edits: []edit{{"spec.keySource", "TPM"}, {"spec.delivery.mode", "Agent"}}, want: `spec.keySource: supported values: "Operator", "Host"`},
		"another request":     {edits: host(edit{"spec.request", strings.ReplaceAll(request, " CERT", " NEW CERT")})},
		"text before":         {edits: host(edit{"spec.request", "Certificate Request:\n" + request})},
		"no request":          {edits: host(edit{"spec.request", "MIIB"}), want: "spec.request: request must be a certificate signing request in PEM"},
		"a key for a request": {edits: host(edit{"spec.request", "-----BEGIN PRIVATE KEY-----"}), want: "spec.request: request holds a private key"},
		"a key before it":     {edits: host(edit{"spec.request", "-----BEGIN RSA PRIVATE KEY-----\n" + request}), want: "spec.request: request holds a private key"},
		"an approved key":     {edits: host(edit{"spec.delivery.mode", "Agent"}, edit{"spec.hostKeySHA256", strings.Repeat("0f", 32)})},
		"approved, no host":   {edits: set("spec.hostKeySHA256", strings.Repeat("0f", 32)), want: "spec.hostKeySHA256: hostKeySHA256 is only for keySource 'Host'"},
		"in upper case": {
			edits: host(edit{"spec.delivery.mode", "Agent"}, edit{"spec.hostKeySHA256", strings.Repeat("0F", 32)}), want: "spec.hostKeySHA256: must be a SHA-256 digest",
		},
		"as -fingerprint prints it": {
			edits: host(edit{"spec.delivery.mode", "Agent"}, edit{"spec.hostKeySHA256", fingerprint}), want: "spec.hostKeySHA256: must be a SHA-256 digest: 64 hexadecimal digits in lower case without colons",
		},
		"half a digest": {
			edits: host(edit{"spec.delivery.mode", "Agent"}, edit{"spec.hostKeySHA256", strings.Repeat("0f", 16)}), want: "spec.hostKeySHA256: must be a SHA-256 digest",
		},
		"a very long request": {edits: host(edit{"spec.request", request + strings.Repeat("x", 16384)}), want: "spec.request: may not be more than 16384 bytes"},
	})
}

func TestCustomIdentity(t *testing.T) {
	k := load(t, "nodecredentials")
	role := func(edits ...edit) []edit { return append(set("spec.role", "Custom"), edits...) }
	runCases(t, k, validCredential, map[string]testCase{
		"a user":   {edits: role(custom("jane", list("developers"), "ClientAuth"))},
		"a server": {edits: role(custom("web", nil, "ServerAuth"), edit{"spec.kubeconfig", nil}, edit{"spec.dnsNames", list("web.example")})},
		"both":     {edits: role(custom("web", nil, "ServerAuth", "ClientAuth"), edit{"spec.ipAddresses", list("10.0.0.1")})},

		"no identity":           {edits: role(), want: "spec.custom: custom must be set for role 'Custom', and only for it"},
		"identity of a row":     {edits: []edit{custom("jane", nil, "ClientAuth")}, want: "spec.custom: custom must be set for role 'Custom', and only for it"},
		"reserved user":         {edits: role(custom("system:admin", nil, "ClientAuth")), want: "spec.custom.commonName: " + reserved},
		"reserved group":        {edits: role(custom("jane", list("a", "system:masters"), "ClientAuth")), want: "spec.custom.organizations[1]: " + reserved},
		"name of 65 bytes":      {edits: role(custom(strings.Repeat("x", 65), nil, "ClientAuth")), want: "spec.custom.commonName: may not be more than 64 bytes"},
		"65 bytes in 33 runes":  {edits: role(custom(strings.Repeat("é", 33), nil, "ClientAuth")), want: "spec.custom.commonName: must be at most 64 bytes long"},
		"no name":               {edits: role(custom("", nil, "ClientAuth")), want: "spec.custom.commonName: spec.custom.commonName in body should be at least 1 chars long"},
		"empty group":           {edits: role(custom("jane", list(""), "ClientAuth")), want: "spec.custom.organizations[0]: spec.custom.organizations[0] in body should be at least 1 chars long"},
		"no usage":              {edits: role(custom("jane", nil)), want: "spec.custom.usages: spec.custom.usages in body should have at least 1 items"},
		"unknown usage":         {edits: role(custom("jane", nil, "CodeSigning")), want: `spec.custom.usages[0]: supported values: "ClientAuth", "ServerAuth"`},
		"kubeconfig, server":    {edits: role(custom("web", nil, "ServerAuth")), want: forUsers},
		"another kubeadm group": {edits: role(custom("jane", list("kubeadm:cluster-admins"), "ClientAuth")), want: "spec.custom.organizations[0]: " + reserved},
		"SANs, client":          {edits: role(custom("jane", nil, "ClientAuth"), edit{"spec.dnsNames", list("a")}), want: forServers},
	})
	runCases(t, k, validCredential, textCases("spec.custom.commonName", func(name string) []edit { return role(custom(name, nil, "ClientAuth")) }))
	runCases(t, k, validCredential, textCases("spec.custom.organizations[0]", func(name string) []edit { return role(custom("jane", list(name), "ClientAuth")) }))
}

// output is one of spec.outputs.
func output(format, cluster string) map[string]any {
	return map[string]any{"format": format, "clusterName": cluster}
}
