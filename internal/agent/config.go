package agent

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// The head of a configuration file.
const (
	ConfigVersion = "clusterpki.io/v1alpha1"
	ConfigKind    = "AgentConfiguration"
)

// Config is what an agent is told, in a file: an agent reads no custom resources.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Host is the host's name, as in spec.hostName.
	Host string `json:"host"`
	// Namespace holds the host's Secrets and Leases in the management cluster.
	Namespace string `json:"namespace"`
	// DeliveryKeys are PEM public keys, in the order in which they sign: nothing is installed that none of them has signed, and once something is
	// that one has signed, nothing is that those before it sign.
	DeliveryKeys []string `json:"deliveryKeys"`
	// ManagementClusters are those that the host's Secrets may come from, in the order in which they are tried.
	ManagementClusters []ManagementCluster `json:"managementClusters"`
	// Directory is where the files lie. Default: /etc/kubernetes.
	Directory string `json:"directory,omitempty"`
	// StateDirectory is where keys lie that never leave the host, and the tokens that the agent has got itself. Default: /var/lib/clusterpki.
	StateDirectory string `json:"stateDirectory,omitempty"`
	// Owner owns the files, as 'user' or 'user:group', by name or number. Default: who runs the agent.
	Owner string `json:"owner,omitempty"`
	// APIServer is the kube-apiserver of this host, if it runs one.
	APIServer *APIServer `json:"apiServer,omitempty"`
	// Credentials are those of this host.
	Credentials []Credential `json:"credentials,omitempty"`
	// KubeletCA names the credential whose CA also signs the kubelets' serving certificates, on the host of an API server:
	// pki/kubelet-ca.crt is its bundle. Default: there is no such file.
	KubeletCA string `json:"kubeletCA,omitempty"`
	// ReplacePKI are the SHA-256 of trust bundles, as the agent names them and status.trust.bundleSHA256 of a ClusterCA shows, that may replace one of other
	// CAs on this host. It has no effect once the next bundle is published. Default: none may.
	ReplacePKI []string `json:"replacePKI,omitempty"`
	// Components are those that need more than their files, in the order in which they are reloaded. Every other one that
	// has a credential here is taken to reload its files by itself.
	Components []Component `json:"components,omitempty"`
	// ReloadDelay is how long it takes until a component that reloads by itself has done so. Default: 5m30s, because
	// client-go looks at its files every five minutes.
	ReloadDelay metav1.Duration `json:"reloadDelay,omitzero"`
	// CheckTimeout is how long what was installed may take until it works, before the files of before come back.
	// Default: 2m.
	CheckTimeout metav1.Duration `json:"checkTimeout,omitzero"`
	// Quiet is how long nothing may change until changes are carried out together. Default: 1s.
	Quiet metav1.Duration `json:"quiet,omitzero"`
}

// ManagementCluster is one that an operator runs in.
type ManagementCluster struct {
	// Name is the agent's own name for it: its renewed token is kept under that.
	Name string `json:"name"`
	// Kubeconfig leads there, with the first token of the host's ServiceAccount.
	Kubeconfig string `json:"kubeconfig"`
}

// APIServer is the APIServerCertificate of a host.
type APIServer struct {
	Name       string `json:"name"`
	SecretName string `json:"secretName"`
	// ServiceAccountSecretName is the Secret of its ServiceAccountKey. Default: the host gets no service account keys.
	ServiceAccountSecretName string `json:"serviceAccountSecretName,omitempty"`
	// Endpoint is the https URL at which this host reaches its own API server, and a name of its certificate.
	Endpoint string `json:"endpoint"`
}

// Credential is one NodeCredential of a host.
type Credential struct {
	Name       string `json:"name"`
	Role       string `json:"role"`
	SecretName string `json:"secretName"`
	// Kubeconfig says that the host renders a kubeconfig for it.
	Kubeconfig bool `json:"kubeconfig,omitempty"`
	// Custom is the identity of role 'Custom'.
	Custom *Custom `json:"custom,omitempty"`
	// KeySource is 'Operator' or 'Host', as in the NodeCredential. Default: Operator.
	KeySource string `json:"keySource,omitempty"`
	// PrivateKey is the kind of key to make for KeySource 'Host', as in the NodeCredential. Default: ECDSA 256.
	PrivateKey *PrivateKey `json:"privateKey,omitempty"`
}

// Custom is an identity that is no row of the role table.
type Custom struct {
	CommonName    string   `json:"commonName"`
	Organizations []string `json:"organizations,omitempty"`
	Usages        []string `json:"usages"`
}

// PrivateKey is a kind of key.
type PrivateKey struct {
	Algorithm string `json:"algorithm"`
	Size      int    `json:"size,omitempty"`
}

// When says which changes a component is reloaded for.
type When string

// The kinds of changes.
const (
	// Once is a change of files that the component reads only when it starts.
	Once When = "Once"
	// Always is a change of any file that the component reads.
	Always When = "Always"
)

// Component says how a component gets to know its files.
type Component struct {
	// Name is etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, or any other name with Files.
	Name string `json:"name"`
	// Files are what it reads, relative to the directory, where Name is none of the above. A name that ends in '/' is a folder.
	Files []string `json:"files,omitempty"`
	// Command is run, with its arguments and without a shell, when it has to be reloaded.
	Command []string `json:"command,omitempty"`
	// Systemd is the unit to restart or to reload, in place of a command.
	Systemd *Systemd `json:"systemd,omitempty"`
	// When is 'Once' or 'Always'. Default: Once; for components with Files: Always.
	When When `json:"when,omitempty"`
	// Timeout is how long that may take. Default: 2m.
	Timeout metav1.Duration `json:"timeout,omitzero"`
}

// Systemd is a unit of systemd.
type Systemd struct {
	Unit string `json:"unit"`
	// Action is 'restart' or 'reload'. Default: restart.
	Action string `json:"action,omitempty"`
}

const (
	defaultReloadDelay = 5*time.Minute + 30*time.Second
	defaultTimeout     = 2 * time.Minute
	defaultQuiet       = time.Second
	defaultState       = "/var/lib/clusterpki"
	keySourceHost      = "Host"
	keySourceOperator  = "Operator"
)

// ReadConfig reads a configuration file. Its errors say what to change.
func ReadConfig(name string) (Config, error) {
	text, err := os.ReadFile(name) //nolint:gosec // what the user named
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// ParseConfig reads a configuration, and completes it with the defaults.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	if c.APIVersion != ConfigVersion || c.Kind != ConfigKind {
		return Config{}, fmt.Errorf("it must begin with 'apiVersion: %s' and 'kind: %s'", ConfigVersion, ConfigKind)
	}
	c.complete()
	if problems := c.problems(); len(problems) > 0 {
		return Config{}, fmt.Errorf("the configuration cannot be used:\n  %s", strings.Join(problems, "\n  "))
	}
	return c, nil
}

func (c *Config) complete() {
	or := func(d *metav1.Duration, otherwise time.Duration) {
		if d.Duration == 0 {
			d.Duration = otherwise
		}
	}
	or(&c.ReloadDelay, defaultReloadDelay)
	or(&c.CheckTimeout, defaultTimeout)
	or(&c.Quiet, defaultQuiet)
	if c.Directory == "" {
		c.Directory = hostfiles.DefaultBaseDir
	}
	if c.StateDirectory == "" {
		c.StateDirectory = defaultState
	}
	for i := range c.Credentials {
		cred := &c.Credentials[i]
		if cred.KeySource == "" {
			cred.KeySource = keySourceOperator
		}
		if cred.PrivateKey == nil {
			cred.PrivateKey = &PrivateKey{Algorithm: string(pki.ECDSA), Size: 256}
		}
	}
	for i := range c.Components {
		comp := &c.Components[i]
		or(&comp.Timeout, defaultTimeout)
		if comp.When == "" {
			comp.When = Once
			if len(comp.Files) > 0 {
				comp.When = Always
			}
		}
		if comp.Systemd != nil && comp.Systemd.Action == "" {
			comp.Systemd.Action = "restart"
		}
	}
}

// problems are what is wrong with a configuration, each with what to change.
func (c *Config) problems() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for name, value := range map[string]string{"host": c.Host, "namespace": c.Namespace} {
		if value == "" {
			say("%s must be set", name)
		}
	}
	for name, dir := range map[string]string{"directory": c.Directory, "stateDirectory": c.StateDirectory} {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
			say("%s must be the absolute path of a directory, not %q", name, dir)
		}
	}
	if c.APIServer == nil && len(c.Credentials) == 0 {
		say("credentials must name at least one NodeCredential of this host, or apiServer its APIServerCertificate")
	}
	if c.APIServer != nil {
		if _, err := pki.EndpointHost(c.APIServer.Endpoint); err != nil {
			say("apiServer.endpoint: %v", err)
		}
		if c.APIServer.Name == "" || c.APIServer.SecretName == "" {
			say("apiServer.name and apiServer.secretName must be set")
		}
	}
	if _, err := c.owner(); err != nil {
		say("owner: %v", err)
	}
	if _, err := c.deliveryKeys(); err != nil {
		say("deliveryKeys: %v", err)
	}
	out = slices.Concat(out, c.clusterProblems(), c.credentialProblems(), c.placeProblems(), c.replaceProblems())
	out = append(out, c.componentProblems()...)
	slices.Sort(out)
	return out
}

func (c *Config) credentialProblems() []string {
	var out []string
	seen := map[string]bool{}
	for _, cred := range c.Credentials {
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("credentials: %q: ", cred.Name)+fmt.Sprintf(format, args...))
		}
		if cred.Name == "" || cred.SecretName == "" {
			say("name and secretName must be set")
		}
		if text := strings.Join(validation.IsDNS1123Subdomain(cred.Name), "; "); text != "" { // files are called so
			say("name: %s", text)
		}
		if seen[cred.Name] {
			say("is listed twice")
		}
		seen[cred.Name] = true
		if _, err := cred.identity(c.Host); err != nil {
			say("%v", err)
		}
		if cred.KeySource != keySourceHost && cred.KeySource != keySourceOperator {
			say("keySource must be 'Operator' or 'Host', not %q", cred.KeySource)
		}
		if err := cred.keySpec().Validate(); err != nil {
			say("privateKey: %v", err)
		}
	}
	if c.KubeletCA != "" && !seen[c.KubeletCA] {
		out = append(out, fmt.Sprintf("kubeletCA must name one of the credentials, not %q", c.KubeletCA))
	}
	return out
}

func (c *Config) componentProblems() []string {
	var out []string
	for _, comp := range c.Components {
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("components: %q: ", comp.Name)+fmt.Sprintf(format, args...))
		}
		known := slices.ContainsFunc(hostfiles.Components(), func(k hostfiles.Component) bool { return k.Name == comp.Name })
		switch {
		case known && len(comp.Files) > 0:
			say("files is for components that this program does not know: remove it")
		case !known && len(comp.Files) == 0:
			say("files must say what it reads: this program knows only etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kube-proxy")
		}
		if (len(comp.Command) > 0) == (comp.Systemd != nil) {
			say("exactly one of command and systemd must be set")
		}
		if comp.Systemd != nil && (comp.Systemd.Unit == "" || comp.Systemd.Action != "restart" && comp.Systemd.Action != "reload") {
			say("systemd needs a unit, and an action that is 'restart' or 'reload'")
		}
		if comp.When != Once && comp.When != Always {
			say("when must be 'Once' or 'Always', not %q", comp.When)
		}
	}
	return out
}

// owner is who owns the files; nil leaves that to the process.
func (c *Config) owner() (*hostdir.Owner, error) {
	if c.Owner == "" {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	name, group, _ := strings.Cut(c.Owner, ":")
	uid, primary, err := lookUpUser(name)
	if err != nil {
		return nil, err
	}
	if group == "" {
		return &hostdir.Owner{UID: uid, GID: primary}, nil
	}
	gid, err := strconv.Atoi(group)
	if err != nil {
		found, err := user.LookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("there is no group %q on this host", group)
		}
		if gid, err = strconv.Atoi(found.Gid); err != nil {
			return nil, fmt.Errorf("group %q has the number %q", group, found.Gid)
		}
	}
	return &hostdir.Owner{UID: uid, GID: gid}, nil
}

// lookUpUser finds a user by name or number, and the group to use where none is named.
func lookUpUser(name string) (uid, gid int, err error) {
	if uid, err = strconv.Atoi(name); err == nil {
		return uid, uid, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("there is no user %q on this host", name)
	}
	uid, err = strconv.Atoi(found.Uid)
	if err == nil {
		gid, err = strconv.Atoi(found.Gid)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user %q has the numbers %q and %q", name, found.Uid, found.Gid)
	}
	return uid, gid, nil
}

func (c Credential) keySpec() pki.KeySpec {
	return pki.KeySpec{Algorithm: pki.Algorithm(c.PrivateKey.Algorithm), Size: c.PrivateKey.Size}
}

// identity is what the credential's certificate must say.
func (c Credential) identity(host string) (pki.Role, error) {
	role, ok := pki.LookupRole(c.Role)
	if c.Role == "Custom" && c.Custom != nil {
		usages := make([]pki.Usage, 0, len(c.Custom.Usages))
		for _, u := range c.Custom.Usages {
			usages = append(usages, pki.Usage(u))
		}
		return pki.CustomRole(c.Custom.CommonName, c.Custom.Organizations, usages)
	}
	if !ok {
		return pki.Role{}, fmt.Errorf("role %q is not known, or lacks custom", c.Role)
	}
	role.CommonName, role.PerHost = role.CommonNameFor(host), false
	return role, nil
}
