package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// facts are all that the desired files follow from.
type facts struct {
	secrets map[string]*corev1.Secret // by name, those that are known
	unread  map[string]string         // by name: why a Secret is not
	keys    map[string][]byte         // by Lease: PEM keys that never leave the host
	refused map[string]string         // by Lease: why what is issued for it does not work, as far as anybody was asked
	current hostdir.Set
	states  map[string]ack.State // by Lease: what the current files hold
	latest  map[string]signedAt  // by Lease: the latest document that was taken
	named   named                // the delivery keys that were named in such documents
	trusts  trusts               // whom the current files trust
}

// desiredFiles is how the host's files should be.
type desiredFiles struct {
	files    []hostdir.File
	states   map[string]ack.State // by Lease: what the files hold
	problems map[string]problem   // by Lease: why the files hold not what is issued, but what was there before
	fresh    map[string]bool      // by Lease: whether the files hold what is issued
	// delivered are, by Lease, the latest documents that were taken.
	delivered map[string]signedAt
	// named are the delivery keys that are to be remembered.
	named named
	// trusts are whom the files trust.
	trusts trusts
	// accounts are the service account keys that were named; nil where nothing says which.
	accounts *delivery.ServiceAccounts
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

// desired lays out what is issued. What cannot be used keeps the files that it has: the others do not wait for it.
func (c *Config) desired(now time.Time, objects []object, f facts) desiredFiles {
	w := desiredFiles{
		states: map[string]ack.State{}, problems: map[string]problem{}, fresh: map[string]bool{}, delivered: map[string]signedAt{},
	}
	maps.Copy(w.delivered, f.latest)
	l := layout{paths: map[string]hostdir.File{}, current: map[string]hostdir.File{}}
	for _, file := range f.current.Files {
		l.current[file.Path] = file
	}
	signed := map[string]delivered{}
	r, unread := c.ring(f.named, f.latest)
	for _, o := range objects {
		d, err := delivered{}, unread
		if err == nil {
			d, err = c.open(now, o, f, r)
		}
		if err != nil {
			w.problems[o.lease] = problemOf(err)
			continue
		}
		signed[o.lease] = d
	}
	w.named = r.learn(signed)
	newest(signed)
	fresh := c.allFresh(now, objects, signed, f, l, w.problems)
	for lease, err := range l.contested(fresh, c.ReplacePKI) {
		w.problems[lease] = problemOf(err)
		delete(fresh, lease)
	}
	for lease, n := range fresh {
		l.add(n.files)
		w.states[lease], w.fresh[lease], w.delivered[lease] = n.state, true, n.delivered.at
		if named := n.delivered.ServiceAccounts; named != nil {
			w.accounts = named
		}
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
	l.keepCAs(c.KubeletCA != "")
	l.keepUnlisted(objects)
	w.files, w.trusts = l.files(), l.trusts(objects, fresh, f.trusts)
	return w
}

// allFresh are the files of all objects, by Lease, that can be installed as they are issued now. It notes why others cannot.
func (c *Config) allFresh(now time.Time, objects []object, signed map[string]delivered, f facts, l layout, problems map[string]problem) map[string]freshFiles {
	fresh, users := map[string]freshFiles{}, c.users(signed, f.trusts)
	for _, o := range objects {
		d, ok := signed[o.lease]
		if !ok {
			continue
		}
		files, state, err := c.fresh(now, o, d, f)
		if o.cred != nil && !c.bringsClientCA(o.cred, users) {
			files = slices.DeleteFunc(files, func(f hostdir.File) bool { return f.Path == hostfiles.ClientCA })
		}
		if err == nil {
			err = c.foreign(o, files, d, l, f.trusts)
		}
		if err != nil {
			problems[o.lease] = problemOf(err)
			continue
		}
		fresh[o.lease] = freshFiles{files, state, d}
	}
	return fresh
}

// freshFiles are those of one object as it is issued now.
type freshFiles struct {
	files     []hostdir.File
	state     ack.State
	delivered delivered
}

func problemOf(err error) problem {
	usual := errors.Is(err, errConflict) || errors.Is(err, errUnseen) || errors.Is(err, errUnnamed)
	return problem{text: err.Error(), passing: usual || errors.Is(err, errUnread), usual: usual}
}

// fresh are the files of an object as it is issued now, or why they cannot be used.
func (c *Config) fresh(now time.Time, o object, d delivered, f facts) ([]hostdir.File, ack.State, error) {
	if err := d.usable(now, o); err != nil {
		return nil, ack.State{}, fmt.Errorf("in Secret %q: %w", o.secrets[0], err)
	}
	if why, ok := f.refused[o.lease]; ok {
		return nil, ack.State{}, errors.New(why)
	}
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	}
	state, err := ack.StateOf(secret(o.secrets[0], d.tls), secret(o.accountsSecret(), d.accounts))
	if err != nil {
		return nil, ack.State{}, err
	}
	files, err := o.files(now, c.Host, c.Directory, d)
	if o.cred != nil && o.cred.Name == c.KubeletCA {
		files = append(files, hostdir.File{Path: hostfiles.KubeletCA, Mode: 0o644, Data: d.tls[bundleKey]})
	}
	return files, state, err
}

// users are the host's credentials, by name, with the ClusterCAs that their bundles are of, as signed. One of which nothing is signed is taken to be of
// those of the bundle that is installed: it keeps nobody from renewing that, and lets no other one be the first.
func (c *Config) users(signed map[string]delivered, were trusts) map[string]hostfiles.User {
	out := map[string]hostfiles.User{}
	for _, cred := range c.Credentials {
		u := hostfiles.User{Role: cred.Role, Kubeconfig: cred.Kubeconfig, CAs: were[hostfiles.ClientCA]}
		if d, ok := signed[cred.SecretName]; ok {
			u.CAs = slices.Sorted(maps.Keys(d.Trust[bundleKey]))
		}
		out[cred.Name] = u
	}
	return out
}

// bringsClientCA says whether a credential brings what verifies the clients of the host's kubelet.
func (c *Config) bringsClientCA(cred *Credential, users map[string]hostfiles.User) bool {
	all := slices.Collect(maps.Values(users))
	return c.APIServer == nil && hostfiles.BringsClientCA(users[cred.Name], all) // the API server's own bundle is the kubelet's too
}

// secret is a Secret as it was last seen.
func (f facts) secret(name string) (*corev1.Secret, error) {
	switch s := f.secrets[name]; {
	case s != nil:
		return s, nil
	case f.unread[name] == "":
		return nil, fmt.Errorf("the Secret %q %w", name, errUnseen)
	default:
		return nil, fmt.Errorf("the Secret %q %w: %s", name, errUnread, f.unread[name])
	}
}

// usable says why a certificate is not to be installed, as far as it can be told from the Secret alone.
func (d delivered) usable(now time.Time, o object) error {
	pair, err := pki.ParseLeaf(d.tls[corev1.TLSCertKey], d.tls[corev1.TLSPrivateKeyKey])
	if o.externalKey() && errors.Is(err, pki.ErrKeyMismatch) {
		return errors.New("the certificate is for another key than this host's: the operator has not signed its request yet")
	}
	if err != nil {
		return err
	}
	switch {
	case len(d.tls[bundleKey]) == 0:
		return fmt.Errorf("there is no %s", bundleKey)
	case o.api != nil && len(d.tls[clientKey]) == 0:
		return fmt.Errorf("there is no %s yet: a CA of clientCARefs may not be there", clientKey)
	case o.hasKubeconfig() && (d.Kubeconfig == nil || len(d.tls[serverKey]) == 0):
		return fmt.Errorf("it does not say how to reach the API server: see spec.kubeconfig of %s", o.name)
	}
	return inspect(now, o.expect, pair, d.tls[bundleKey])
}
