package export

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/hostfiles"
)

// placed is what an object puts at a path below its host's directory.
type placed struct {
	path, by string
	// cas are the ClusterCAs whose trust bundles are to lie there, which other objects may want there too. None: it is the object's alone.
	cas []string
}

// agrees says whether two objects may put this at one path.
func (p placed) agrees(with placed) bool { return len(p.cas) > 0 && slices.Equal(p.cas, with.cas) }

// what names it for a message.
func (p placed) what() string {
	if len(p.cas) == 0 {
		return "a file of its own"
	}
	return "the trust bundle of ClusterCA " + strings.Join(p.cas, " and ")
}

// places are all that the objects of a host put there, and what is wrong with that.
func (o Objects) places(host string) (all []placed, problems []string) {
	of, servedBy := o.Of(host), consumers.Specs{Servers: o.Servers}.ServedBy()
	for i := range of.Servers {
		all = append(all, placesOfServer(&of.Servers[i])...)
	}
	for i := range of.Credentials {
		c := &of.Credentials[i]
		at := hostfiles.ForRole(string(c.Spec.Role), c.Name)
		if taken := hostfiles.Reserved(string(c.Spec.Role), c.Name); taken != "" {
			problems = append(problems, fmt.Sprintf(
				"%s would have a file at %s, which is the place of something else on every host: make it anew under another name", called(c), taken))
			continue
		}
		for _, name := range at.Own() {
			all = append(all, placed{path: name, by: called(c)})
		}
		all = append(all, of.bundlesOf(c, at, servedBy)...)
	}
	return all, problems
}

func placesOfServer(s *v1alpha1.APIServerCertificate) []placed {
	by := fmt.Sprintf("APIServerCertificate %q", s.Name)
	all := []placed{
		{hostfiles.APIServerCert, by, nil}, {hostfiles.APIServerKey, by, nil},
		{hostfiles.CA, by, []string{s.Spec.CARef.Name}}, {hostfiles.ClientCA, by, s.ClientCANames()},
	}
	if s.Spec.RequestHeaderCARef != nil { // the aggregator's credential puts it there
		all = append(all, placed{hostfiles.FrontProxyCA, by, []string{s.Spec.RequestHeaderCARef.Name}})
	}
	if s.ServiceAccountKeyName() != "" {
		all = append(all, placed{hostfiles.ServiceAccKey, by, nil}, placed{hostfiles.ServiceAccPub, by, nil})
	}
	return all
}

// bundlesOf are the trust bundles that a credential brings to its host, of whose objects o consists.
func (o Objects) bundlesOf(c *v1alpha1.NodeCredential, at hostfiles.Files, servedBy map[string]string) []placed {
	var all []placed
	own := []string{c.Spec.CARef.Name}
	if at.CA != hostfiles.CA {
		all = append(all, placed{at.CA, called(c), own})
	}
	if c.Spec.Kubeconfig == nil {
		return all
	}
	if ref := c.Spec.APIServerRef; ref != nil && servedBy[ref.Name] != "" {
		all = append(all, placed{hostfiles.CA, called(c), []string{servedBy[ref.Name]}})
	}
	var users []hostfiles.User
	for i := range o.Credentials {
		users = append(users, userOf(&o.Credentials[i], o.Credentials[i].Spec.Kubeconfig != nil))
	}
	if len(o.Servers) == 0 && hostfiles.BringsClientCA(userOf(c, true), users) {
		all = append(all, placed{hostfiles.ClientCA, called(c), own})
	}
	return all
}

// userOf is a credential, as far as it matters to what verifies the clients of a kubelet. Whether it has a kubeconfig is said apart: what an agent lays out
// has one without a spec of it.
func userOf(c *v1alpha1.NodeCredential, kubeconfig bool) hostfiles.User {
	return hostfiles.User{Role: string(c.Spec.Role), Kubeconfig: kubeconfig, CAs: []string{c.Spec.CARef.Name}}
}

// misplaced says which objects of a host get into each other's way.
func (o Objects) misplaced(host string) []string {
	all, out := o.places(host)
	first, told := map[string]placed{}, map[string]bool{}
	for _, p := range all {
		was, ok := first[p.path]
		if !ok {
			first[p.path] = p
			continue
		}
		shared := len(was.cas) > 0 && len(p.cas) > 0
		once := fmt.Sprint(was.by, p.by, shared) // two objects of one role have all their files in common
		if was.agrees(p) || told[once] {
			continue
		}
		told[once] = true
		if !shared {
			out = append(out, fmt.Sprintf("%s and %s both belong at %s: one of them is for another host or another role", was.by, p.by, p.path))
			continue
		}
		out = append(out, fmt.Sprintf("%s and %s want different things at %s, %s and %s: change caRef, apiServerRef, clientCARefs or requestHeaderCARef "+
			"of one of them, or its hostName", was.by, p.by, p.path, was.what(), p.what()))
	}
	return out
}

// Bundle is a file of a host that says whom components trust.
type Bundle struct {
	Path string // below the host's directory
	CAs  []string
}

// Bundles are those that the objects of a host bring, by path.
func (o Objects) Bundles(host string) []Bundle {
	all, _ := o.places(host)
	cas := map[string][]string{}
	for _, p := range all {
		if len(p.cas) > 0 {
			cas[p.path] = p.cas
		}
	}
	var out []Bundle
	for _, name := range slices.Sorted(maps.Keys(cas)) {
		out = append(out, Bundle{name, cas[name]})
	}
	return out
}
