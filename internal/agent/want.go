package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// facts are all that the wanted files follow from.
type facts struct {
	secrets map[string]*corev1.Secret // by name, those that are known
	unread  map[string]string         // by name: why a Secret is not
	keys    map[string][]byte         // by Lease: PEM keys that never leave the host
	refused map[string]string         // by Lease: why what is issued for it does not work, as far as anybody was asked
	current hostdir.Set
	states  map[string]ack.State // by Lease: what the current files hold
}

// wanted is how the host's files should be.
type wanted struct {
	files    []hostdir.File
	states   map[string]ack.State // by Lease: what the files hold
	problems map[string]problem   // by Lease: why the files hold not what is issued, but what was there before
	fresh    map[string]bool      // by Lease: whether the files hold what is issued
}

// problem is why something that is issued is not installed.
type problem struct {
	text string
	// passing: it may be over in a moment, and is not told before.
	passing bool
	// usual: it is to be expected, while the operator writes one Secret after another, and is no news for a log.
	usual bool
}

var (
	errUnseen = errors.New("was not read yet")
	errUnread = errors.New("was not read")
)

var errBetween = errors.New("its Secrets hold different certificates: the operator is between two writes, or cannot write one of them")

// desired lays out what is issued. What cannot be used keeps the files that it has: the others do not wait for it.
func (c *Config) desired(now time.Time, objects []object, f facts) wanted {
	w := wanted{states: map[string]ack.State{}, problems: map[string]problem{}, fresh: map[string]bool{}}
	l := layout{paths: map[string]hostdir.File{}, current: map[string]hostdir.File{}}
	for _, file := range f.current.Files {
		l.current[file.Path] = file
	}
	f.secrets = newest(f.secrets)
	for _, o := range objects {
		files, state, err := c.fresh(now, o, f)
		if err == nil {
			err = l.add(files)
		}
		if err != nil {
			usual := errors.Is(err, errBetween) || errors.Is(err, errConflict) || errors.Is(err, errUnseen)
			w.problems[o.lease] = problem{text: err.Error(), passing: usual || errors.Is(err, errUnread), usual: usual}
			continue
		}
		w.states[o.lease], w.fresh[o.lease] = state, true
	}
	for _, o := range objects { // after all that is fresh: of shared files the fresh ones count
		if w.fresh[o.lease] {
			continue
		}
		l.keep(o)
		if state, ok := f.states[o.lease]; ok {
			w.states[o.lease] = state
		}
	}
	c.kubeletCA(&l, f)
	l.keepUnlisted(objects)
	w.files = l.files()
	return w
}

// fresh are the files of an object as it is issued now, or why they cannot be used.
func (c *Config) fresh(now time.Time, o object, f facts) ([]hostdir.File, ack.State, error) {
	read, d, err := f.of(o)
	if err != nil {
		return nil, ack.State{}, err
	}
	if err := d.usable(now, o); err != nil {
		return nil, ack.State{}, fmt.Errorf("in Secret %q: %w", o.secrets[0], err)
	}
	if o.hasKubeconfig() && !bytes.Equal(d.other[corev1.TLSCertKey], d.tls[corev1.TLSCertKey]) {
		return nil, ack.State{}, errBetween
	}
	if why, ok := f.refused[o.lease]; ok {
		return nil, ack.State{}, errors.New(why)
	}
	state, err := ack.StateOf(read[0], contentful(o, read[1:])...)
	if err != nil {
		return nil, ack.State{}, err
	}
	files, err := o.files(now, c.Host, c.Directory, d)
	if c.APIServer != nil && o.cred != nil { // the clients of its kubelet are verified with the API server's own bundle
		files = slices.DeleteFunc(files, func(f hostdir.File) bool { return f.Path == hostfiles.ClientCA })
	}
	return files, state, err
}

// of reads an object's Secrets, and its key where that is on the host.
func (f facts) of(o object) (read []*corev1.Secret, d data, err error) {
	for _, name := range o.secrets {
		s := f.secrets[name]
		switch {
		case s != nil:
			read = append(read, s)
		case f.unread[name] == "":
			return nil, data{}, fmt.Errorf("the Secret %q %w", name, errUnseen)
		default:
			return nil, data{}, fmt.Errorf("the Secret %q %w: %s", name, errUnread, f.unread[name])
		}
	}
	d.tls = maps.Clone(read[0].Data)
	if len(read) > 1 {
		d.other = read[1].Data
	}
	if o.keyOnHost() {
		d.tls[corev1.TLSPrivateKeyKey] = f.keys[o.lease]
	}
	return read, d, nil
}

// usable says why a certificate is not to be installed, as far as it can be told from the Secret alone.
func (d data) usable(now time.Time, o object) error {
	pair, err := pki.ParseLeaf(d.tls[corev1.TLSCertKey], d.tls[corev1.TLSPrivateKeyKey])
	if o.keyOnHost() && errors.Is(err, pki.ErrKeyMismatch) {
		return errors.New("the certificate is for another key than this host's: the operator has not signed its request yet")
	}
	if err != nil {
		return err
	}
	if len(d.tls[bundleKey]) == 0 {
		return fmt.Errorf("there is no %s", bundleKey)
	}
	if o.api != nil && len(d.tls[clientKey]) == 0 {
		return fmt.Errorf("there is no %s yet: a CA of clientCARefs may not be there", clientKey)
	}
	if o.api != nil && o.api.ServiceAccountSecretName != "" && (len(d.other["sa.key"]) == 0 || len(d.other["sa.pub"]) == 0) {
		return fmt.Errorf("Secret %q has no service account keys", o.api.ServiceAccountSecretName) //nolint:staticcheck // it goes on a sentence
	}
	return inspect(now, o.expect, pair, d.tls[bundleKey])
}

// contentful are those of an object's further Secrets that hold a bundle or a certificate.
func contentful(o object, others []*corev1.Secret) []*corev1.Secret {
	if o.api != nil {
		return nil // service account keys are neither
	}
	return others
}

// kubeletCA adds the bundle that verifies the kubelets' servers, on the host of an API server.
func (c *Config) kubeletCA(l *layout, f facts) {
	i := slices.IndexFunc(c.Credentials, func(cred Credential) bool { return cred.Name == c.KubeletCA })
	if i < 0 {
		return
	}
	file := l.current[hostfiles.KubeletCA]
	if s := f.secrets[c.Credentials[i].SecretName]; s != nil && len(s.Data[bundleKey]) > 0 {
		file = hostdir.File{Path: hostfiles.KubeletCA, Mode: 0o644, Data: s.Data[bundleKey]}
	}
	if file.Path != "" {
		l.paths[file.Path] = file
	}
}

// layout collects files by path.
type layout struct{ paths, current map[string]hostdir.File }

var errConflict = errors.New("two objects have different contents for one file")

// add adds the files of one object, all or none.
func (l *layout) add(files []hostdir.File) error {
	for _, f := range files {
		if was, ok := l.paths[f.Path]; ok && !bytes.Equal(was.Data, f.Data) {
			return fmt.Errorf("%w, %s: one of them is for another host or another role", errConflict, f.Path)
		}
	}
	for _, f := range files {
		l.paths[f.Path] = f
	}
	return nil
}

// keep leaves an object the files that it has.
func (l *layout) keep(o object) {
	own, shared := o.own()
	for _, p := range append(own, shared...) {
		if _, fresh := l.paths[p]; fresh {
			continue
		}
		if f, ok := l.current[p]; ok {
			l.paths[p] = f
		}
	}
}

// keepUnlisted leaves alone the files of objects that are not configured any more: nobody said that they are not in use.
func (l *layout) keepUnlisted(objects []object) {
	listed := map[string]bool{hostfiles.KubeletCA: true}
	for _, o := range objects {
		own, shared := o.own()
		for _, p := range append(own, shared...) {
			listed[p] = true
		}
	}
	for p, f := range l.current {
		if _, fresh := l.paths[p]; !fresh && !listed[p] {
			l.paths[p] = f
		}
	}
}

func (l *layout) files() []hostdir.File {
	return slices.SortedFunc(maps.Values(l.paths), func(a, b hostdir.File) int { return strings.Compare(a.Path, b.Path) })
}

// Keys of Secrets that hold bundles.
const (
	bundleKey = "ca.crt"
	clientKey = "client-ca.crt"
)

// newest gives every Secret the newest bundle that any of them holds of the same CAs: the operator writes one after
// another, and files of one host that several share must not wait for the last.
func newest(secrets map[string]*corev1.Secret) map[string]*corev1.Secret {
	type bundle struct {
		revisions map[string]int64
		text      []byte
	}
	best := map[string]bundle{} // by the names of the CAs
	of := func(s *corev1.Secret, key string) (string, bundle) {
		revisions := consumers.Unsealed(s.Annotations).Trust[key]
		if len(revisions) == 0 {
			return "", bundle{}
		}
		if _, err := pki.ParseCertificates(s.Data[key]); err != nil { // damage must not spread
			return "", bundle{}
		}
		return strings.Join(slices.Sorted(maps.Keys(revisions)), "/"), bundle{revisions, s.Data[key]}
	}
	for _, s := range secrets {
		for _, key := range []string{bundleKey, clientKey} {
			cas, b := of(s, key)
			if was, ok := best[cas]; cas != "" && (!ok || supersedes(b.revisions, was.revisions)) {
				best[cas] = b
			}
		}
	}
	out := map[string]*corev1.Secret{}
	for name, s := range secrets {
		s = s.DeepCopy()
		for _, key := range []string{bundleKey, clientKey} {
			if cas, b := of(s, key); cas != "" && supersedes(best[cas].revisions, b.revisions) {
				s.Data[key] = best[cas].text
			}
		}
		out[name] = s
	}
	return out
}

// supersedes says whether one bundle is of later revisions than another of the same CAs.
func supersedes(a, b map[string]int64) bool {
	later := false
	for ca, revision := range a {
		if revision < b[ca] {
			return false
		}
		later = later || revision > b[ca]
	}
	return later
}
