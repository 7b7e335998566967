package cluster_test

import (
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// rotations plays edits of the triggers on a ClusterPKI and the ClusterCAs that follow.
type rotations struct {
	c      *v1alpha1.ClusterPKI
	record cluster.Triggers
	cas    map[string]cluster.CAState
}

// visit is what the CAs are given, written as "ca:b etcd-ca:a>b front-proxy-ca:a!"; ">" stands before the text that is queued, "!" behind an emergency.
func (r *rotations) visit() string {
	r.record = r.record.Observe(r.c)
	var out []string
	given := r.record.Rotations(r.c, r.cas)
	for _, name := range []string{"ca", "etcd-ca", "front-proxy-ca"} {
		full := "prod-" + name
		next, there := given[full]
		if !there {
			continue
		}
		text := name + ":" + next.Text
		if next.Queued {
			text += ">" + next.Next
		}
		if next.Emergency != "" {
			text += "!"
		}
		out = append(out, text)
		state, exists := r.cas[full]
		r.cas[full] = cluster.CAState{Trigger: next.Text, Settled: exists && state.Settled && state.Trigger == next.Text}
	}
	return strings.Join(out, " ")
}

// settle lets the CAs of these names complete their rotations.
func (r *rotations) settle(names ...string) {
	for _, name := range names {
		r.cas["prod-"+name] = cluster.CAState{Trigger: r.cas["prod-"+name].Trigger, Settled: true}
	}
}

func (r *rotations) own(ca *v1alpha1.ClusterPKICA, trigger, emergency string) {
	ca.Rotation = &v1alpha1.RotationSpec{Trigger: trigger, EmergencyTrigger: emergency}
}

var allCAs = []string{"ca", "etcd-ca", "front-proxy-ca"}

// start is a cluster whose CAs were made with a trigger.
func start(t *testing.T, trigger string) *rotations {
	t.Helper()
	r := &rotations{c: sample(t, "ha"), cas: map[string]cluster.CAState{}}
	r.c.Spec.Rotation.Trigger = trigger
	want := strings.ReplaceAll("ca:T etcd-ca:T front-proxy-ca:T", "T", trigger)
	r.expect(t, "made", want)
	r.settle(allCAs...)
	r.expect(t, "nothing changed", want)
	return r
}

func (r *rotations) expect(t *testing.T, when, want string) {
	t.Helper()
	if got := r.visit(); got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

// TestOneAfterTheOther: the cluster's trigger rotates the cluster CA, then etcd's, then the front proxy's.
func TestOneAfterTheOther(t *testing.T) {
	r := start(t, "a")
	r.c.Spec.Rotation.Trigger = "b"
	r.expect(t, "changed", "ca:b etcd-ca:a>b front-proxy-ca:a>b")
	r.expect(t, "under way", "ca:b etcd-ca:a>b front-proxy-ca:a>b")
	r.settle("ca")
	r.expect(t, "the first one done", "ca:b etcd-ca:b front-proxy-ca:a>b")
	r.settle("etcd-ca")
	r.expect(t, "the second one done", "ca:b etcd-ca:b front-proxy-ca:b")
	r.settle("front-proxy-ca")
	r.expect(t, "all done", "ca:b etcd-ca:b front-proxy-ca:b")
}

// TestRollback: the former text goes to those that have the new one, and the others never get that.
func TestRollback(t *testing.T) {
	r := start(t, "a")
	r.c.Spec.Rotation.Trigger = "b"
	r.visit()
	r.c.Spec.Rotation.Trigger = "a"
	r.expect(t, "put back", "ca:a etcd-ca:a front-proxy-ca:a")
	r.settle("ca")
	r.c.Spec.Rotation.Trigger = "b"
	r.visit()
	r.c.Spec.Rotation.Trigger = ""
	r.expect(t, "removed", "ca: etcd-ca: front-proxy-ca:")
}

// TestOwnTriggers: a CA has the text that changed last, and its own waits for no other CA.
func TestOwnTriggers(t *testing.T) {
	r := start(t, "a")
	of := &r.c.Spec.CertificateAuthorities
	r.own(&of.Etcd, "e", "")
	r.expect(t, "its own", "ca:a etcd-ca:e front-proxy-ca:a")
	r.own(&of.FrontProxy, "f", "")
	r.expect(t, "another one's own, meanwhile", "ca:a etcd-ca:e front-proxy-ca:f")
	r.settle(allCAs...)
	r.c.Spec.Rotation.Trigger = "b"
	r.expect(t, "the cluster's", "ca:b etcd-ca:e>b front-proxy-ca:f>b")
	r.own(&of.Etcd, "e2", "")
	r.expect(t, "its own, while it waits", "ca:b etcd-ca:e2 front-proxy-ca:f>b")
	r.settle("ca")
	r.expect(t, "the one before is under way for its own", "ca:b etcd-ca:e2 front-proxy-ca:f>b")
	r.settle("etcd-ca")
	r.expect(t, "and is done", "ca:b etcd-ca:e2 front-proxy-ca:b")
	r.settle("front-proxy-ca")
	of.Etcd.Rotation = nil
	r.expect(t, "its own is removed", "ca:b etcd-ca:b front-proxy-ca:b")
}

// TestEmergency waits for nobody, and is one of the rotation that its text started alone.
func TestEmergency(t *testing.T) {
	r := start(t, "a")
	r.c.Spec.Rotation = v1alpha1.ClusterRotationSpec{Trigger: "b", EmergencyTrigger: "b"}
	r.expect(t, "of all", "ca:b! etcd-ca:b! front-proxy-ca:b!")
	r.settle(allCAs...)
	r.c.Spec.Rotation.Trigger = "c"
	r.expect(t, "the next one", "ca:c etcd-ca:b>c front-proxy-ca:b>c")
	r.c.Spec.Rotation.EmergencyTrigger = "c"
	r.expect(t, "while it is under way", "ca:c! etcd-ca:c! front-proxy-ca:c!")
	r.settle(allCAs...)
	r.own(&r.c.Spec.CertificateAuthorities.Etcd, "e", "e")
	r.expect(t, "of one", "ca:c! etcd-ca:e! front-proxy-ca:c!")
	r.settle(allCAs...)
	r.own(&r.c.Spec.CertificateAuthorities.Etcd, "e", "other")
	r.expect(t, "of none", "ca:c! etcd-ca:e front-proxy-ca:c!")
}

// TestWithoutEtcd: the front proxy's CA follows the cluster's.
func TestWithoutEtcd(t *testing.T) {
	r := &rotations{c: sample(t, "ha"), cas: map[string]cluster.CAState{}}
	r.c.Spec.ControlPlane.Etcd.Mode = v1alpha1.EtcdNone
	r.expect(t, "made", "ca: front-proxy-ca:")
	r.settle("ca", "front-proxy-ca")
	r.c.Spec.Rotation.Trigger = "b"
	r.expect(t, "changed", "ca:b front-proxy-ca:>b")
	r.settle("ca")
	r.expect(t, "done", "ca:b front-proxy-ca:b")
}

// TestRotate writes the triggers into the specs.
func TestRotate(t *testing.T) {
	c := sample(t, "ha")
	c.Spec.CertificateAuthorities.Etcd.Rotation = &v1alpha1.RotationSpec{Trigger: "e", KeyPolicy: v1alpha1.KeyReuse}
	children := expand(t, c)
	children.Rotate(map[string]cluster.Trigger{"prod-ca": {Text: "b", Emergency: "b"}, "prod-etcd-ca": {Text: "a", Queued: true, Next: "b"}})
	for name, want := range map[string]v1alpha1.RotationSpec{
		"prod-ca": {Trigger: "b", EmergencyTrigger: "b"}, "prod-etcd-ca": {Trigger: "a", KeyPolicy: v1alpha1.KeyReuse}, "prod-front-proxy-ca": {},
	} {
		child, _ := children.Find(cluster.Key{Kind: v1alpha1.KindClusterCA, Name: name})
		if got := child.Object.(*v1alpha1.ClusterCA).Spec.Rotation; got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
