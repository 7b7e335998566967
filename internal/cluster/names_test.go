package cluster_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// reached is a cluster of three API servers behind a balancer, as its names go on.
type reached struct {
	t     *testing.T
	c     *v1alpha1.ClusterPKI
	names cluster.Names
	there map[cluster.Key]v1alpha1.Object
	now   time.Time
}

// newReached is one in which everything is in use.
func newReached(t *testing.T) *reached {
	t.Helper()
	w := &reached{t: t, c: sample(t, "ha"), there: map[cluster.Key]v1alpha1.Object{}, now: attentionNow}
	w.step()
	w.inUse()
	return w
}

// step goes on by what there is, through the record as it is stored.
func (w *reached) step() cluster.Reach {
	w.t.Helper()
	r := w.names.Reach(w.c, w.there, w.now)
	text, err := json.Marshal(r.Names)
	if err != nil {
		w.t.Fatal(err)
	}
	w.names = cluster.Names{}
	if err := json.Unmarshal(text, &w.names); err != nil {
		w.t.Fatal(err)
	}
	children, err := cluster.Expand(w.c, w.names)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, child := range children {
		o, there := w.there[child.Key()]
		if !there {
			child.Object.SetCreationTimestamp(metav1.NewTime(w.now))
			child.Object.SetGeneration(1)
			*child.Object.ObservedGeneration() = 1
			w.there[child.Key()] = child.Object
			continue
		}
		switch o := o.(type) {
		case *v1alpha1.APIServerCertificate:
			next, _ := child.Object.(*v1alpha1.APIServerCertificate)
			if cmp.Diff(o.Spec, next.Spec) != "" {
				o.Spec = next.Spec
				o.Generation++
			}
		case *v1alpha1.NodeCredential:
			o.Spec = child.Object.(*v1alpha1.NodeCredential).Spec
		}
	}
	return r
}

// inUse lets each host use what is issued for it, as its agent has seen; but for some.
func (w *reached) inUse(but ...string) {
	for _, o := range w.there {
		*o.ObservedGeneration() = o.GetGeneration()
		ready := []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")}
		switch o := o.(type) {
		case *v1alpha1.APIServerCertificate:
			if slices.Contains(but, o.Spec.HostName) {
				ready = append(ready, condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotInUse, ""))
			}
			o.Status.Conditions = ready
		case *v1alpha1.NodeCredential:
			if o.Spec.Kubeconfig == nil || slices.Contains(but, o.Spec.HostName) {
				continue
			}
			server := w.server(strings.TrimSuffix(strings.TrimPrefix(o.Spec.APIServerRef.Name, w.c.Name+"-"), "-apiserver"))
			o.Status.Endpoint, o.Status.Delivery = server.Spec.Endpoint, v1alpha1.ReasonInUse
			if server.Spec.HostName == o.Spec.HostName && server.Spec.LocalEndpoint != "" {
				o.Status.Endpoint = server.Spec.LocalEndpoint
			}
			o.Status.Certificate.SerialNumber, o.Status.Certificate.NotBefore = "1", metav1.NewTime(attentionNow)
		}
	}
}

func (w *reached) server(host string) *v1alpha1.APIServerCertificate {
	return w.there[cluster.Key{Kind: v1alpha1.KindAPIServerCertificate, Name: cluster.ServerName(w.c.Name, host)}].(*v1alpha1.APIServerCertificate)
}

// hosts are those of the control plane.
func (w *reached) hosts() []string {
	var out []string
	for _, h := range w.c.Spec.ControlPlane.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// have says whether every API server has a name among its own.
func (w *reached) have(name string) bool {
	return !slices.ContainsFunc(w.hosts(), func(h string) bool {
		s := w.server(h).Spec
		return !slices.Contains(append(slices.Clone(s.DNSNames), s.IPAddresses...), name)
	})
}

func retainedNames(r cluster.Reach) []string {
	var out []string
	for _, s := range r.Retained {
		out = append(out, s.Name)
	}
	return out
}

// TestEndpointIsRenamed: the new name is served by all before one kubeconfig has it, and the old one is kept until none has it any more.
func TestEndpointIsRenamed(t *testing.T) {
	const next = "https://next.prod.example:6443"
	w := newReached(t)
	was := w.c.Spec.Endpoint
	old := strings.TrimSuffix(strings.TrimPrefix(was, "https://"), ":6443")
	last := slices.Max(w.hosts())

	w.c.Spec.Endpoint = next
	w.now = w.now.Add(time.Minute)
	if r := w.step(); r.Unproved == "" || !w.have("next.prod.example") || !w.have(old) || w.server(last).Spec.Endpoint != was {
		t.Fatalf("at first: %+v; %+v", r, w.server(last).Spec)
	}
	w.inUse(last) // all but one
	if r := w.step(); r.Unproved != last || r.Reason != v1alpha1.ReasonNotInUse || w.server(last).Spec.Endpoint != was {
		t.Fatalf("one is behind: %+v", r)
	}
	w.inUse()
	if r := w.step(); r.Unproved != "" || w.server(last).Spec.Endpoint != next || !w.have(old) || len(r.Retained) != 1 || *r.Retained[0].UsedByCount == 0 {
		t.Fatalf("all serve it: %+v; %+v", r, w.server(last).Spec)
	}
	w.inUse("node1")
	r := w.step()
	if !slices.Equal(retainedNames(r), []string{old}) || !w.have(old) || len(r.Retained[0].UsedBy) == 0 || !strings.Contains(r.Retained[0].UsedBy[0], "-node1-") {
		t.Fatalf("a node has the old one: %+v", r.Retained)
	}
	w.inUse()
	if r := w.step(); len(r.Retained) > 0 || w.have(old) || !r.Next.IsZero() {
		t.Fatalf("nobody has the old one: %+v; %+v", r, w.server(last).Spec)
	}
}

// TestNamesThatLeave: what was the endpoint, an address of a host or of a service stays while it may be used, and no longer.
func TestNamesThatLeave(t *testing.T) {
	year := 8760 * time.Hour
	renamed := func(w *reached) {
		w.c.Spec.Endpoint = "https://next.prod.example:6443"
		w.step()
		w.inUse()
		w.step()
	}
	for name, c := range map[string]struct {
		change func(w *reached)
		want   []string
	}{
		"nothing changed": {change: func(*reached) {}},
		"the edit is taken back before it is in use": {change: func(w *reached) {
			was := w.c.Spec.Endpoint
			w.c.Spec.Endpoint = "https://next.prod.example:6443"
			w.step()
			w.c.Spec.Endpoint = was
		}},
		"it is taken back afterwards": {change: func(w *reached) {
			was := w.c.Spec.Endpoint
			renamed(w)
			w.c.Spec.Endpoint = was
		}, want: []string{"k8s.prod.example"}}, // which is not the endpoint before all serve it
		"it is taken back afterwards, and all serve it": {change: func(w *reached) {
			was := w.c.Spec.Endpoint
			renamed(w)
			w.inUse()
			w.c.Spec.Endpoint = was
			w.step()
			for _, h := range w.hosts() {
				*w.server(h).ObservedGeneration() = w.server(h).Generation
			}
		}, want: []string{"next.prod.example"}},
		"a host's address": {change: func(w *reached) { w.c.Spec.ControlPlane.Hosts[0].Addresses = []string{"10.9.9.9"} }, want: []string{"10.1.10.11"}},
		"a host's address, and its agent has seen the next one": {change: func(w *reached) {
			w.c.Spec.ControlPlane.Hosts[0].Addresses = []string{"10.9.9.9"}
			w.step()
			w.inUse()
		}},
		"a service network":             {change: func(w *reached) { w.c.Spec.ServiceCIDRs = []string{"10.112.0.0/12"} }, want: []string{"10.96.0.1"}},
		"a service network, and a year": {change: func(w *reached) { w.c.Spec.ServiceCIDRs = []string{"10.112.0.0/12"}; w.step(); w.now = w.now.Add(year) }},
		"a service network that was back": {change: func(w *reached) {
			w.c.Spec.ServiceCIDRs = []string{"10.112.0.0/12"}
			w.step()
			w.c.Spec.ServiceCIDRs = []string{"10.96.0.0/12"}
		}, want: []string{"10.112.0.1"}},
		"nobody has seen, and what was issued since is in use": {change: func(w *reached) {
			renamed(w)
			for _, o := range w.there {
				if cred, ok := o.(*v1alpha1.NodeCredential); ok {
					cred.Status.Endpoint, cred.Status.Certificate.NotBefore = "", metav1.NewTime(w.now.Add(time.Minute))
				}
			}
		}},
		"it is mounted": {change: func(w *reached) {
			renamed(w)
			for _, o := range w.there {
				if cred, ok := o.(*v1alpha1.NodeCredential); ok {
					cred.Status.Endpoint, cred.Status.Delivery = "", v1alpha1.ReasonAssumed
				}
			}
		}, want: []string{"k8s.prod.example"}},
		"a credential that the ClusterPKI did not make": {change: func(w *reached) {
			jane := &v1alpha1.NodeCredential{}
			jane.Name, jane.CreationTimestamp = "jane", metav1.NewTime(w.now.Add(-time.Hour))
			jane.Spec.Kubeconfig, jane.Spec.APIServerRef = &v1alpha1.KubeconfigSpec{}, &v1alpha1.APIServerReference{Name: "prod-master1-apiserver"}
			jane.Status.Certificate.SerialNumber, jane.Status.Certificate.NotBefore = "1", metav1.NewTime(w.now)
			jane.Status.Certificate.NotAfter = metav1.NewTime(w.now.Add(year))
			w.there[cluster.Key{Kind: v1alpha1.KindNodeCredential, Name: "jane"}] = jane
			renamed(w)
			w.inUse()
			jane.Status.Endpoint = ""
			jane.Status.Delivery = v1alpha1.ReasonAssumed
		}, want: []string{"k8s.prod.example"}},
		"it is mounted, and validity was shortened": {change: func(w *reached) {
			for _, o := range w.there {
				if cred, ok := o.(*v1alpha1.NodeCredential); ok {
					cred.Status.Certificate.NotAfter = metav1.NewTime(w.now.Add(year))
				}
			}
			w.c.Spec.Certificates.Validity.Duration = time.Hour
			renamed(w)
			for _, o := range w.there {
				if cred, ok := o.(*v1alpha1.NodeCredential); ok {
					cred.Status.Endpoint, cred.Status.Delivery = "", v1alpha1.ReasonAssumed
				}
			}
			w.now = w.now.Add(24 * time.Hour)
		}, want: []string{"k8s.prod.example"}},
		"it is mounted, and a year": {change: func(w *reached) {
			renamed(w)
			for _, o := range w.there {
				if cred, ok := o.(*v1alpha1.NodeCredential); ok {
					cred.Status.Endpoint, cred.Status.Delivery = "", v1alpha1.ReasonAssumed
				}
			}
			w.now = w.now.Add(year)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newReached(t)
			c.change(w)
			w.step()
			r := w.step()
			if got := retainedNames(r); !slices.Equal(got, c.want) {
				t.Errorf("%v are retained, want %v; %+v", got, c.want, slices.Sorted(maps.Keys(w.names.Local)))
			}
		})
	}
}

// TestNamesAreBounded: whoever edits without end does not fill certificates.
func TestNamesAreBounded(t *testing.T) {
	w := newReached(t)
	for i := range 40 {
		w.c.Spec.ServiceCIDRs = []string{fmt.Sprintf("10.%d.0.0/16", i+2)}
		w.c.Spec.ControlPlane.Hosts[0].Addresses = []string{fmt.Sprintf("192.168.0.%d", i+1)}
		w.step()
	}
	if n := len(w.names.Left); n > 16 {
		t.Errorf("%d names are kept", n)
	}
}
