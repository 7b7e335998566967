package export

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// Places beside those of package hostfiles, relative to the host's directory.
const (
	kubeletConfig = "kubelet-config.yaml"
	argsDirectory = "args"
)

const (
	publicMode fs.FileMode = 0o644
	secretMode fs.FileMode = 0o600
)

// File is one file of a host.
type File struct {
	Path string // relative to the host's directory
	Mode fs.FileMode
	Data []byte
	from string // who asked for it, for errors
}

// Layout is all files of a host in the order of their paths. dir is where they will lie on the host:
// kubeconfigs and flags name it. "" takes it from the credentials. Notes say what a person should know.
func Layout(h Host, dir string, now time.Time) (files []File, notes []string, err error) {
	l, err := lay(h, dir, now)
	if err != nil {
		return nil, nil, err
	}
	if h.Cluster.KubeletCA != nil {
		l.add("the kubelets' CA", hostfiles.KubeletCA, publicMode, h.Cluster.KubeletCA)
	}
	notes = slices.Concat(h.Notes, l.notes, l.args(h))
	files, err = l.files(h)
	return files, notes, err
}

// Files are those of a host that follow from Secrets alone: the certificates, keys and kubeconfigs of its API server and
// of its credentials.
func Files(h Host, dir string, now time.Time) ([]File, error) {
	l, err := lay(h, dir, now)
	if err != nil {
		return nil, err
	}
	return l.files(h)
}

// lay puts everything that comes from Secrets in its place.
func lay(h Host, dir string, now time.Time) (*layout, error) {
	dir, err := directory(h, dir)
	if err != nil {
		return nil, err
	}
	l := &layout{dir: dir, now: now, byPath: map[string]File{}}
	if h.APIServer != nil {
		l.apiServer(h.APIServer)
	}
	for _, c := range h.Credentials {
		l.credential(c)
	}
	l.clientCA(h)
	return l, nil
}

// files are those that were added, in the order of their paths, unless something was wrong.
func (l *layout) files(h Host) ([]File, error) {
	if len(l.problems) > 0 {
		return nil, fmt.Errorf("host %q: %s", h.Name, strings.Join(l.problems, "\n  "))
	}
	var files []File
	for _, f := range l.byPath {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// directory is where the files will lie on the host: as told, or as the credentials agree.
func directory(h Host, told string) (string, error) {
	if told != "" {
		if !path.IsAbs(told) {
			return "", fmt.Errorf("directory %q must be an absolute path on the host", told)
		}
		return path.Clean(told), nil
	}
	var credentials []v1alpha1.NodeCredential
	for _, c := range h.Credentials {
		credentials = append(credentials, *c.Object)
	}
	dir, err := Directory(credentials)
	if err != nil {
		return "", fmt.Errorf("%w: say with --directory where the files of host %q will lie", err, h.Name)
	}
	return dir, nil
}

// layout collects files and what is wrong with them.
type layout struct {
	dir      string
	now      time.Time
	byPath   map[string]File
	problems []string
	notes    []string
}

func (l *layout) at(name string) string { return path.Join(l.dir, name) }

func (l *layout) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// add puts a file in its place. Two may share a place only if they agree on what it holds.
func (l *layout) add(from, name string, mode fs.FileMode, data []byte) {
	if was, ok := l.byPath[name]; ok && !bytes.Equal(was.Data, data) {
		l.problem("%s and %s both belong at %s and differ: one of them is for another host or another role", was.from, from, name)
		return
	}
	if _, ok := l.byPath[name]; !ok {
		l.byPath[name] = File{Path: name, Mode: mode, Data: data, from: from}
	}
}

func (l *layout) apiServer(s *APIServer) {
	from := fmt.Sprintf("APIServerCertificate %q", s.Object.Name)
	l.pair(from, hostfiles.APIServerCert, hostfiles.APIServerKey, s.TLS)
	l.add(from, hostfiles.CA, publicMode, s.TLS[caKey])
	l.add(from, hostfiles.ClientCA, publicMode, s.TLS["client-ca.crt"])
	l.accounts(from, s.ServiceAccounts)
}

func (l *layout) credential(c Credential) {
	from := called(c.Object)
	at := hostfiles.ForRole(string(c.Object.Spec.Role), c.Object.Name)
	if c.externalKey() {
		l.certificate(from, at, c)
	} else {
		l.pair(from, at.Certificate, at.Key, c.TLS)
	}
	// At hostfiles.CA lies what verifies the API server, which may be another CA than the one that signed
	// this credential: it comes from the kubeconfig.
	if at.CA != hostfiles.CA {
		l.add(from, at.CA, publicMode, c.TLS[caKey])
	}
	if c.Kubeconfig != nil {
		l.add(from, hostfiles.CA, publicMode, c.Kubeconfig.CA)
		l.kubeconfigs(from, c, at)
	}
}

// clientCA is what verifies the clients of the host's kubelet, where no API server of the same host has
// put its own bundle there.
func (l *layout) clientCA(h Host) {
	if h.APIServer != nil {
		return
	}
	var users []hostfiles.User
	for _, c := range h.Credentials {
		users = append(users, userOf(c.Object, c.Kubeconfig != nil))
	}
	for i, c := range h.Credentials {
		if hostfiles.BringsClientCA(users[i], users) {
			l.add(called(c.Object), hostfiles.ClientCA, publicMode, c.TLS[caKey])
		}
	}
}

// pair adds a certificate and its key, after a look at whether they are of any use.
func (l *layout) pair(from, certificate, key string, data map[string][]byte) {
	pair, err := pki.ParseLeaf(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if l.usable(from, pair, err) {
		l.add(from, certificate, publicMode, data[corev1.TLSCertKey])
		l.add(from, key, secretMode, data[corev1.TLSPrivateKeyKey])
	}
}

// certificate adds a certificate whose key is on the host, and says where that has to lie.
func (l *layout) certificate(from string, at hostfiles.Files, c Credential) {
	pair, err := pki.ParseLeafCertificate(c.TLS[corev1.TLSCertKey])
	if l.usable(from, pair, err) {
		l.add(from, at.Certificate, publicMode, c.TLS[corev1.TLSCertKey])
		l.notes = append(l.notes, fmt.Sprintf("the key of NodeCredential %s is on the host: it has to lie at %s, with mode 0600",
			c.Object.Name, l.at(at.Key)))
	}
}

// usable notes what keeps a certificate from being of any use.
func (l *layout) usable(from string, pair pki.Leaf, err error) bool {
	switch {
	case err != nil:
		l.problem("%s: %v", from, err)
	case l.now.After(pair.Cert.NotAfter):
		l.problem("%s: the certificate expired at %s: is the operator running?", from, pair.Cert.NotAfter.Format(time.RFC3339))
	default:
		return true
	}
	return false
}
