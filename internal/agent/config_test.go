package agent

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/hostdir"
)

const head = "apiVersion: clusterpki.io/v1alpha1\nkind: AgentConfiguration\n"

// keyLine names the operator's delivery key.
var keyLine = "deliveryKeys: [" + strconv.Quote(operatorPublic()) + "]\n"

// least is the shortest configuration there is.
var least = head + keyLine + `host: k8s-node1
namespace: prod
managementClusters:
- {name: a, kubeconfig: /a}
credentials:
- {name: kubelet, role: Kubelet, secretName: kubelet-tls}
components:
- {name: kubelet, systemd: {unit: kubelet.service}}
- {name: nginx, files: [pki/], command: [nginx, -s, reload]}
`

// TestConfigDefaults completes what is not said.
func TestConfigDefaults(t *testing.T) {
	got, err := ParseConfig([]byte(least))
	if err != nil {
		t.Fatal(err)
	}
	minutes := func(n time.Duration) metav1.Duration { return metav1.Duration{Duration: n * time.Minute} }
	if diff := cmp.Diff(Config{
		APIVersion: ConfigVersion, Kind: ConfigKind, Host: "k8s-node1", Namespace: "prod", DeliveryKeys: []string{operatorPublic()},
		ManagementClusters: []ManagementCluster{{Name: "a", Kubeconfig: "/a"}},
		Directory:          "/etc/kubernetes", StateDirectory: "/var/lib/clusterpki",
		Credentials: []Credential{{
			Name: "kubelet", Role: "Kubelet", SecretName: "kubelet-tls", KeySource: "Operator", PrivateKey: &PrivateKey{Algorithm: "ECDSA", Size: 256},
		}},
		Components: []Component{
			{Name: "kubelet", Systemd: &Systemd{Unit: "kubelet.service", Action: "restart"}, When: Once, Timeout: minutes(2)},
			{Name: "nginx", Files: []string{"pki/"}, Command: []string{"nginx", "-s", "reload"}, When: Always, Timeout: minutes(2)},
		},
		ReloadDelay: metav1.Duration{Duration: 5*time.Minute + 30*time.Second}, CheckTimeout: minutes(2), Quiet: metav1.Duration{Duration: time.Second},
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestConfigProblems says of each mistake what to change.
func TestConfigProblems(t *testing.T) {
	replaced := func(old, with string) string {
		if !strings.Contains(least, old) {
			t.Fatalf("there is no %q to replace", old)
		}
		return strings.Replace(least, old, with, 1)
	}
	for name, c := range map[string]struct{ text, says string }{
		"no YAML":            {"{", "read the configuration"},
		"an unknown field":   {least + "hosts: x\n", `unknown field "hosts"`},
		"a field twice":      {least + "host: x\n", `"host" already set`},
		"another kind":       {replaced("AgentConfiguration", "Agent"), "it must begin with 'apiVersion: clusterpki.io/v1alpha1' and 'kind: AgentConfiguration'"},
		"another version":    {replaced("v1alpha1", "v1"), "it must begin with"},
		"no delivery key":    {replaced(keyLine, ""), "deliveryKeys: the public half of the namespace's delivery key must be set"},
		"no key of Ed25519":  {replaced(keyLine, "deliveryKeys: [x]\n"), "deliveryKeys: it is not one PEM block"},
		"no name of a file":  {replaced("name: kubelet, role", "name: ../x, role"), "a lowercase RFC 1123 subdomain"},
		"no host":            {replaced("host: k8s-node1", ""), "host must be set"},
		"no namespace":       {replaced("namespace: prod", ""), "namespace must be set"},
		"no cluster":         {replaced("managementClusters:\n- {name: a, kubeconfig: /a}\n", ""), "managementClusters must name at least one"},
		"a cluster's name":   {replaced("name: a, kube", "name: ../a, kube"), `managementClusters: "../a": name: a lowercase RFC 1123 label`},
		"a cluster twice":    {replaced("- {name: a, kube", "- {name: a, kubeconfig: /b}\n- {name: a, kube"), `managementClusters: "a": is listed twice`},
		"a cluster's file":   {replaced("kubeconfig: /a", "kubeconfig: a"), `managementClusters: "a": kubeconfig must be the absolute path of a file, not "a"`},
		"a relative path":    {least + "directory: kubernetes\n", `directory must be the absolute path of a directory, not "kubernetes"`},
		"the root":           {least + "stateDirectory: /var/..\n", `stateDirectory must be the absolute path of a directory, not "/var/.."`},
		"nothing to keep":    {head + "host: a\nnamespace: b\n", "credentials must name at least one NodeCredential of this host, or apiServer"},
		"an endpoint":        {least + "apiServer: {name: a, secretName: b, endpoint: \"http://x\"}\n", "apiServer.endpoint:"},
		"a nameless server":  {least + "apiServer: {endpoint: \"https://localhost:6443\"}\n", "apiServer.name and apiServer.secretName must be set"},
		"no such user":       {least + "owner: no-such-user\n", `owner: there is no user "no-such-user" on this host`},
		"no such group":      {least + "owner: \"0:no-such-group\"\n", `owner: there is no group "no-such-group" on this host`},
		"a nameless one":     {replaced("secretName: kubelet-tls", ""), `credentials: "kubelet": name and secretName must be set`},
		"one twice":          {replaced("components:", "- {name: kubelet, role: Kubelet, secretName: other}\ncomponents:"), `credentials: "kubelet": is listed twice`},
		"a shared file":      {replaced("{name: kubelet, role: Kubelet", "{name: client-ca, role: Host"), `credentials: "client-ca": it would have a file at pki/client-ca.crt`},
		"a component's file": {replaced("{name: kubelet, role: Kubelet", "{name: kubelet, role: Host"), `it would have a file at pki/kubelet.crt`},
		"two of one role": {replaced("components:", "- {name: other, role: Kubelet, secretName: other}\ncomponents:"),
			`"other": it belongs at pki/kubelet-client.crt, and so does "kubelet"`},
		"two of one kubeconfig": {replaced("components:", "- {name: x, role: Host, secretName: x}\n- {name: x.embedded, role: Host, secretName: y}\ncomponents:"),
			`"x.embedded": it belongs at x.embedded.conf, and so does "x"`},
		"no digest of a CA":   {least + "replacePKI: [yes]\n", "replacePKI must hold SHA-256 digests of trust bundles"},
		"no such role":        {replaced("role: Kubelet", "role: Kublet"), `credentials: "kubelet": role "Kublet" is not known, or lacks custom`},
		"no custom identity":  {replaced("role: Kubelet", "role: Custom"), `role "Custom" is not known, or lacks custom`},
		"a reserved identity": {replaced("role: Kubelet", "role: Custom, custom: {commonName: \"system:x\", usages: [ClientAuth]}"), "which Kubernetes reserves"},
		"a key source":        {replaced("role: Kubelet", "role: Kubelet, keySource: host"), "keySource must be 'Operator' or 'Host', not \"host\""},
		"a kind of key":       {replaced("role: Kubelet", "role: Kubelet, privateKey: {algorithm: RSA, size: 512}"), `credentials: "kubelet": privateKey:`},
		"the kubelets' CA":    {least + "kubeletCA: other\n", `kubeletCA must name one of the credentials, not "other"`},
		"files of a known one": {replaced("{name: kubelet, systemd", "{name: kubelet, files: [a], systemd"),
			`components: "kubelet": files is for components that this program does not know: remove it`},
		"no files of another one":  {replaced("files: [pki/], ", ""), `components: "nginx": files must say what it reads`},
		"neither command nor unit": {replaced("systemd: {unit: kubelet.service}", "when: Once"), `components: "kubelet": exactly one of command and systemd must be set`},
		"both":                     {replaced("systemd: {", "command: [a], systemd: {"), `components: "kubelet": exactly one of command and systemd must be set`},
		"an action":                {replaced("unit: kubelet.service", "unit: kubelet.service, action: stop"), "an action that is 'restart' or 'reload'"},
		"no unit":                  {replaced("unit: kubelet.service", "action: reload"), "systemd needs a unit"},
		"a when":                   {replaced("{name: kubelet, systemd", "{name: kubelet, when: Never, systemd"), "when must be 'Once' or 'Always', not \"Never\""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig([]byte(c.text))
			says(t, err, c.says)
		})
	}
}

// TestReadConfig names the file.
func TestReadConfig(t *testing.T) {
	name := filepath.Join(t.TempDir(), "agent.yaml")
	_, err := ReadConfig(name)
	says(t, err, "read the configuration", name)
	if err := os.WriteFile(name, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadConfig(name)
	says(t, err, name, "host must be set", "namespace must be set", "credentials must name")
}

// TestOwner reads users and groups by name and by number.
func TestOwner(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	self := hostdir.Owner{UID: os.Getuid(), GID: os.Getgid()}
	for text, want := range map[string]*hostdir.Owner{
		"": nil, "1234": {UID: 1234, GID: 1234}, "1234:99": {UID: 1234, GID: 99}, me.Username: &self, me.Username + ":" + group.Name: &self,
	} {
		got, err := (&Config{Owner: text}).owner()
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}
