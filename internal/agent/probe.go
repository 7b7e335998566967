package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

// result is what was found out about one object.
type result struct {
	object object
	err    error
}

// side asks about some objects side by side: each answer may take as long as askTimeout.
func side(objects []object, about func(object) error) []result {
	out := make([]result, len(objects))
	var wait sync.WaitGroup
	for i, o := range objects {
		wait.Go(func() { out[i] = result{o, about(o)} })
	}
	wait.Wait()
	return out
}

// probe tries what lies on the disk, as a component that has just started would.
func (a *Agent) probe(ctx context.Context, objects []object) []result {
	return side(objects, func(o object) error {
		pair, bundle, err := a.onDisk(o)
		if err == nil {
			err = inspect(a.clock.Now(), o.expect, pair, bundle)
		}
		switch {
		case err != nil:
			return &wrongError{err}
		case o.api != nil:
			return a.serves(ctx, o, bundle, pair)
		case o.hasKubeconfig():
			access, err := accessOf(filepath.Join(a.cfg.Directory, o.places().Kubeconfig))
			if err != nil {
				return err
			}
			return ask(ctx, access, o.expect.subject)
		default:
			return nil // it belongs together, and nobody here can be asked for more
		}
	})
}

// serves says whether the API server of this host has loaded what lies on the disk.
func (a *Agent) serves(ctx context.Context, o object, bundle []byte, pair pki.Leaf) error {
	text, err := a.dir.ReadFile(hostfiles.ClientCA)
	if err != nil {
		return fmt.Errorf("what is installed: %w", err)
	}
	clients, err := pki.ParseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w", hostfiles.ClientCA, err)
	}
	return served(ctx, o.api.Endpoint, bundle, pair.Cert, clients)
}

// onDisk reads an object's certificate and key, and the bundle of the CA that signed it. There is no bundle where that
// lies nowhere on the host: pki/ca.crt is of the CA that signed for the API server, which may be another one.
func (a *Agent) onDisk(o object) (pki.Leaf, []byte, error) {
	at := hostfiles.Files{Certificate: hostfiles.APIServerCert, Key: hostfiles.APIServerKey, CA: hostfiles.CA}
	if o.cred != nil {
		at = o.places()
	}
	if o.cred != nil && at.CA == hostfiles.CA {
		at.CA = "" // what lies there verifies the API server
	}
	var text [3][]byte
	for i, name := range []string{at.Certificate, at.Key, at.CA} {
		if name == "" {
			continue
		}
		var err error
		if text[i], err = a.dir.ReadFile(name); err != nil {
			return pki.Leaf{}, nil, fmt.Errorf("what is installed: %w", err)
		}
	}
	pair, err := pki.ParseLeaf(text[0], text[1])
	if err != nil {
		return pki.Leaf{}, nil, fmt.Errorf("%s: %w", at.Certificate, err)
	}
	return pair, text[2], nil
}

// among are the objects of some Leases.
func (a *Agent) among(leases []string) []object {
	return slices.DeleteFunc(slices.Clone(a.objects), func(o object) bool { return !slices.Contains(leases, o.lease) })
}

// working are those of the objects whose files are about to change that work now, as far as anybody can tell.
func (a *Agent) working(ctx context.Context, before []hostdir.File, changed []string) []string {
	var ask []object
	for _, o := range a.objects {
		own, shared := o.own()
		touched := slices.ContainsFunc(append(own, shared...), func(p string) bool { return slices.Contains(changed, p) })
		there := slices.ContainsFunc(before, func(f hostdir.File) bool { return f.Path == own[0] })
		if touched && there {
			ask = append(ask, o)
		}
	}
	var out []string
	for _, r := range a.probe(ctx, ask) {
		if r.err == nil {
			out = append(out, r.object.lease)
		}
	}
	return out
}

// plain reads what lies at the places of files before the first set.
func (a *Agent) plain(files []hostdir.File) []hostdir.File {
	var out []hostdir.File
	for _, f := range files {
		if text, err := a.dir.ReadFile(f.Path); err == nil {
			out = append(out, hostdir.File{Path: f.Path, Mode: f.Mode, Data: text})
		}
	}
	return out
}

// desiredFiles is how the files should be, once everything that is new was tried. next is when something that did not work is
// tried again.
func (a *Agent) desiredFiles(ctx context.Context, set hostdir.Set, rec record) (w desiredFiles, next time.Time, err error) {
	now := a.clock.Now()
	f := a.store.facts()
	f.current, f.states, f.latest, f.named, f.trusts, f.refused = set, rec.States, rec.Delivered, rec.Named, rec.Trusts, map[string]string{}
	if f.keys, err = a.keys.read(a.objects); err != nil {
		return desiredFiles{}, time.Time{}, err
	}
	for _, o := range a.objects {
		if r, ok := a.refusals[o.lease]; ok && r.version == a.store.version(o.secrets) && now.Before(r.next) {
			f.refused[o.lease], next = r.text, sooner(next, r.next)
		}
	}
	for {
		w = a.cfg.desired(now, a.objects, f)
		refused := a.try(ctx, w, f)
		if len(refused) == 0 {
			return w, next, nil
		}
		for lease, why := range refused {
			f.refused[lease] = why.Error()
			next = sooner(next, a.refuse(lease, why))
		}
	}
}

// refuse remembers that something did not work, and returns when it is tried again.
func (a *Agent) refuse(lease string, why error) time.Time {
	i := slices.IndexFunc(a.objects, func(o object) bool { return o.lease == lease })
	version := a.store.version(a.objects[i].secrets)
	r := a.refusals[lease]
	if r.version != version {
		r = refusal{version: version}
	}
	r.text = why.Error()
	r.failed(a.clock.Now(), firstAttempt, lastAttempt)
	a.refusals[lease] = r
	return r.next
}

// try tries what is new before it replaces anything, and returns, by Lease, what does not work. On the host of an API server, whose
// files change in the same moment as those of its clients, the two rehearse their handshake; elsewhere the API server is asked.
func (a *Agent) try(ctx context.Context, w desiredFiles, f facts) map[string]error {
	if hostdir.Equal(w.files, f.current.Files) {
		return nil
	}
	is, was := byPath(w.files), byPath(f.current.Files)
	serverChanges := a.cfg.APIServer != nil && !sameFiles(is, was, hostfiles.APIServerCert, hostfiles.APIServerKey, hostfiles.ClientCA)
	users := slices.DeleteFunc(slices.Clone(a.objects), func(o object) bool {
		return !w.fresh[o.lease] || !o.hasKubeconfig() || !serverChanges && sameAccess(o, is, was)
	})
	refused := map[string]error{}
	for _, r := range side(users, func(o object) error { return a.tryOne(ctx, o, is, serverChanges) }) {
		if r.err == nil || !isWrong(r.err) && !a.usable(r.object) {
			continue // nobody answers, and what there is is worse
		}
		refused[r.object.lease] = r.err
	}
	if s := a.cfg.APIServer; serverChanges && w.fresh[s.SecretName] && len(users) > 0 && len(users) == len(refused) {
		refused[s.SecretName] = fmt.Errorf("none of this host's clients would get on with it: %w", refused[users[0].lease])
	}
	return refused
}

// usable says whether what lies on the disk for an object could still be used.
func (a *Agent) usable(o object) bool {
	pair, bundle, err := a.onDisk(o)
	return err == nil && inspect(a.clock.Now(), o.expect, pair, bundle) == nil
}

func (a *Agent) tryOne(ctx context.Context, o object, is map[string]hostdir.File, serverChanges bool) error {
	access, err := accessIn(o, is)
	if err != nil {
		return err
	}
	if !serverChanges {
		return ask(ctx, access, o.expect.subject)
	}
	server, err := tls.X509KeyPair(is[hostfiles.APIServerCert].Data, is[hostfiles.APIServerKey].Data)
	if err != nil {
		return wrong("the API server of this host has no certificate: %w", err)
	}
	if err := rehearse(a.clock.Now(), server, is[hostfiles.ClientCA].Data, access); err != nil {
		return &wrongError{err}
	}
	return nil
}

func byPath(files []hostdir.File) map[string]hostdir.File {
	out := map[string]hostdir.File{}
	for _, f := range files {
		out[f.Path] = f
	}
	return out
}

// accessIn is how a credential gets to the API server by files that are not on the disk.
func accessIn(o object, files map[string]hostdir.File) (access, error) {
	at := o.places()
	current, err := kubeconfig.ParseCurrent(files[at.Kubeconfig].Data)
	if err != nil {
		return access{}, wrong("the kubeconfig: %w", err)
	}
	return access{
		server: current.Server, serverName: current.TLSServerName,
		ca: files[hostfiles.CA].Data, cert: files[at.Certificate].Data, key: files[at.Key].Data,
	}, nil
}

// sameAccess says whether a credential gets to the API server by the same bytes as before.
func sameAccess(o object, is, was map[string]hostdir.File) bool {
	at := o.places()
	return sameFiles(is, was, at.Kubeconfig, at.Certificate, at.Key, hostfiles.CA)
}

func sameFiles(is, was map[string]hostdir.File, paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { return string(is[p].Data) != string(was[p].Data) })
}
