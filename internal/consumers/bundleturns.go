package consumers

import (
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki/plan"
)

// Turns in which hosts get a bundle that one of their components reads only when it starts: etcd and the API server that of etcd's CA, and
// kube-controller-manager that of the API server's. One host after the other is given it, so that no two restart the same component at a time. Who has no
// such component has it at once, and so does who has no agent: nobody would say that its restarts are over.

// restarted are the keys of Secrets that are in a file which such a component reads.
var restarted = []string{BundleKey, ServerBundleKey}

// readsEtcdCA are the roles whose bundle is that of etcd's CA, on a host that runs etcd or is a client of it.
var readsEtcdCA = []v1alpha1.Role{"EtcdServer", "EtcdPeer", "EtcdClient"}

// RestartHosts are the hosts on which an agent restarts something for another bundle of a CA, or of one below it, in the order of their turns.
func (s Specs) RestartHosts(ca string) []string {
	var out []string
	manager, relies := map[string]bool{}, s.relies(ca)
	for i := range s.Credentials {
		c := &s.Credentials[i]
		if c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent {
			continue
		}
		if slices.Contains(readsEtcdCA, c.Spec.Role) && relies(c.Spec.CARef.Name) {
			out = append(out, c.Spec.HostName)
		}
		manager[c.Spec.HostName] = manager[c.Spec.HostName] || c.Spec.Role == "ControllerManager"
	}
	for i := range s.Servers {
		c := &s.Servers[i]
		if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent && manager[c.Spec.HostName] && relies(c.Spec.CARef.Name) {
			out = append(out, c.Spec.HostName)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Turns are those in which hosts get what a CA publishes; none where nothing changes for them.
func (in Inputs) Turns(ca string) []plan.Turn {
	specs := Specs{in.CAs, in.Servers, in.Credentials}
	hosts := specs.RestartHosts(ca)
	if len(hosts) == 0 || in.Authorities.published(ca) == in.Authorities.Before(ca).published(ca) {
		return nil
	}
	busy := in.restarting(specs, ca)
	out := make([]plan.Turn, 0, len(hosts))
	for _, host := range hosts {
		out = append(out, plan.Turn{Host: host, Done: !busy[host]})
	}
	return out
}

// restarting are the hosts whose agents do not report of every object there that they have installed what a CA, and those below it, publish, that nothing is
// left to be restarted, and no problem with that.
func (in Inputs) restarting(specs Specs, ca string) map[string]bool {
	servedBy, relies, out := specs.ServedBy(), specs.relies(ca), map[string]bool{}
	digests := map[string]string{}
	digest := func(of string) string {
		if _, known := digests[of]; !known {
			digests[of] = in.Authorities.published(of)
		}
		return digests[of]
	}
	add := func(o v1alpha1.Object, host string, d v1alpha1.DeliverySpec, lease string, uses []Use) {
		if d.Mode != v1alpha1.DeliveryAgent {
			return
		}
		said := in.Leases[LeaseKey{o.GetUID(), lease}]
		for _, u := range uses {
			if u.Beside || !slices.Contains(restarted, u.Key) || len(u.CAs) != 1 || !relies(u.CAs[0]) {
				continue
			}
			heard := said.Proof == ack.Signed && Alive(said, d, host, in.Now) && !said.Report.Restarting
			out[host] = out[host] || !heard || !runs(said.Report, u, digest(u.CAs[0]))
		}
	}
	for i := range in.Servers {
		c := &in.Servers[i]
		add(c, c.Spec.HostName, c.Spec.Delivery, c.LeaseName(), UsesOfServer(c))
	}
	for i := range in.Credentials {
		c := &in.Credentials[i]
		add(c, c.Spec.HostName, c.Spec.Delivery, c.LeaseName(), UsesOfCredential(c, servedBy))
	}
	return out
}

// runs says whether a host has installed a bundle, and has no problem with it; one with something else may be.
func runs(r ack.Report, u Use, digest string) bool {
	key := ack.ContentKey(u.Secret, u.Key)
	return digest != "" && r.Installed.Has(key, digest) && (r.Problem == "" || r.Verified.Has(key, digest))
}

// inTurn says of those who have not got what a CA publishes that it is not their turn.
func (r *reading) inTurn() {
	l := r.Authorities[r.ca].Ledger
	var hosts []string
	for i := range r.out {
		c := &r.out[i]
		if c.Reason != v1alpha1.PendingNotIssued || c.Host == "" || !l.Awaits(c.Host) {
			continue
		}
		if hosts == nil {
			hosts = Specs{r.CAs, r.Servers, r.Credentials}.RestartHosts(r.ca)
		}
		if slices.Contains(hosts, c.Host) {
			c.Reason, c.Since = v1alpha1.ReasonAwaitingTurn, time.Time{}
		}
	}
}
