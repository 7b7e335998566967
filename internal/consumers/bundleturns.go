package consumers

import (
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
)

// Turns in which hosts get a bundle that one of their components reads only when it starts: etcd and the API server that of etcd's CA, and
// kube-controller-manager that of the API server's. One host after the other is given it, so that no two restart the same component at a time. Who has no
// such component has it at once, and so does who has no agent: nobody would say that its restarts are over.

// restarted are the keys of Secrets that are in a file which such a component reads.
var restarted = []string{BundleKey, ServerBundleKey}

// readsEtcdCA are the roles whose bundle is that of etcd's CA, on a host that runs etcd or is a client of it.
var readsEtcdCA = []v1alpha1.Role{"EtcdServer", "EtcdPeer", "EtcdClient"}

// RestartHosts are the hosts on which an agent restarts something for another bundle of a CA, in the order of their turns.
func (s Specs) RestartHosts(ca string) []string {
	var out []string
	manager := map[string]bool{}
	for i := range s.Credentials {
		c := &s.Credentials[i]
		if c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
			continue
		}
		if c.Spec.CARef.Name == ca && slices.Contains(readsEtcdCA, c.Spec.Role) {
			out = append(out, c.Spec.HostName)
		}
		manager[c.Spec.HostName] = manager[c.Spec.HostName] || c.Spec.Role == "ControllerManager"
	}
	for i := range s.Servers {
		c := &s.Servers[i]
		if c.Spec.CARef.Name == ca && c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent && manager[c.Spec.HostName] {
			out = append(out, c.Spec.HostName)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Awaiting are the hosts that are not to have a bundle of a CA yet: one before them has not got it, or has not restarted for it. digest is that of the
// bundle.
func (in Inputs) Awaiting(ca, digest string) []string {
	hosts := Specs{Servers: in.Servers, Credentials: in.Credentials}.RestartHosts(ca)
	for i, host := range hosts {
		if !in.restartedFor(ca, host, digest) {
			return hosts[i+1:]
		}
	}
	return nil
}

// restartedFor says whether the agent of a host reports of every object there that it has installed a bundle, that nothing is left to be restarted, and no
// problem with it.
func (in Inputs) restartedFor(ca, host, digest string) bool {
	servedBy := Specs{Servers: in.Servers}.ServedBy()
	has := func(o v1alpha1.Object, d v1alpha1.DeliverySpec, lease string, uses []Use) bool {
		said := in.Leases[LeaseKey{o.GetUID(), lease}]
		uses = slices.DeleteFunc(slices.Clone(uses), func(u Use) bool {
			return u.Beside || !slices.Contains(restarted, u.Key) || !slices.Equal(u.CAs, []string{ca})
		})
		heard := said.Proof == ack.Signed && Alive(said, d, host, in.Now) && !said.Report.Restarting
		return len(uses) == 0 || heard && !slices.ContainsFunc(uses, func(u Use) bool { return !runs(said.Report, u, digest) })
	}
	for i := range in.Servers {
		c := &in.Servers[i]
		if c.Spec.HostName == host && c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent && !has(c, c.Spec.Delivery, c.LeaseName(), UsesOfServer(c)) {
			return false
		}
	}
	for i := range in.Credentials {
		c := &in.Credentials[i]
		if c.Spec.HostName == host && c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent &&
			!has(c, c.Spec.Delivery, c.LeaseName(), UsesOfCredential(c, servedBy)) {
			return false
		}
	}
	return true
}

// runs says whether a host has installed a bundle, and has no problem with it; one with something else may be.
func runs(r ack.Report, u Use, digest string) bool {
	key := ack.ContentKey(u.Secret, u.Key)
	return r.Installed.Has(key, digest) && (r.Problem == "" || r.Verified.Has(key, digest))
}

// inTurn says of those who have not got what a CA publishes that it is not their turn.
func (r *reading) inTurn() {
	var awaiting []string
	known := false
	for i := range r.out {
		c := &r.out[i]
		if c.Reason != v1alpha1.PendingNotIssued || c.Host == "" {
			continue
		}
		if !known {
			awaiting, known = r.Awaiting(r.ca, r.published(r.ca)), true
		}
		if slices.Contains(awaiting, c.Host) {
			c.Reason, c.Since = v1alpha1.ReasonAwaitingTurn, time.Time{}
		}
	}
}
