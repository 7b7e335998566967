package demo

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestPlaceMasters: each host of the sample has a loopback address of its own beside the one that it has there, and the load balancer another one.
func TestPlaceMasters(t *testing.T) {
	text, err := os.ReadFile("../../config/samples/" + threeMasters.file)
	if err != nil {
		t.Fatal(err)
	}
	pki, err := threeMasters.read(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := placesOf(pki, func(a string, port int) bool { return a != "127.1.10.12" || port != 2379 }) // another demo
	if err != nil {
		t.Fatal(err)
	}
	p.move(pki)
	s := pki.Spec
	if s.Endpoint != "https://127.2.20.10:6443" || p.serverOf("master3") != "https://127.2.10.13:6443" ||
		s.ControlPlane.Port != 6443 || *s.ControlPlane.Kubelet {
		t.Errorf("the endpoint is %s, that of master3 %s, on port %d", s.Endpoint, p.serverOf("master3"), s.ControlPlane.Port)
	}
	if got := s.ControlPlane.Hosts[1].Addresses; !slices.Equal(got, []string{"127.2.10.12", "10.1.10.12"}) {
		t.Errorf("master2 has %q", got)
	}
	if len(s.Nodes.Hosts) != threeMasters.nodes || !slices.Equal(s.Nodes.Hosts[0].Addresses, []string{"127.2.11.1", "10.1.11.1"}) {
		t.Errorf("the nodes are %+v", s.Nodes.Hosts)
	}
	if s.CertificateAuthorities.Etcd.Rotation.MaxUnavailable.String() != "100%" || s.Certificates.Delivery.LeaseDuration.Duration != leaseDuration {
		t.Errorf("the rotation is %+v", s.CertificateAuthorities.Etcd.Rotation)
	}
	if _, err := placesOf(pki, func(string, int) bool { return false }); !errors.Is(err, errPortsTaken) {
		t.Errorf("no place is free: %v", err)
	}
	if _, err := threeMasters.read([]byte("spec: {controlPlane: {hosts: [{name: a}]}}")); err == nil {
		t.Error("one master is taken for several")
	}
}

func TestOutages(t *testing.T) {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	all := []outage{
		{"etcd", "a", at(0), at(2)}, {"kube-apiserver", "a", at(1), at(9)}, {"etcd", "b", at(2), at(4)}, {"kube-apiserver", "b", at(8), at(12)},
		{"kube-apiserver", "c", at(12), time.Time{}}, {"kube-apiserver", "a", at(20), at(21)}, {"kube-apiserver", "c", at(30), at(31)},
	}
	if got := overlaps(all[:3]); len(got) > 0 {
		t.Errorf("these overlap: %+v", got)
	}
	if got := overlaps(all); len(got) != 2 || got[0] != all[3] || got[1] != all[5] {
		t.Errorf("these overlap: %+v", got)
	}
	const want = `
restarted       hosts  longest  two at once
etcd            a b    2s       0
kube-apiserver  a b    8s       1`
	if got := tellOutages(all[:4]); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("it is told as\n%s", got)
	}
	if got := tellOutages(nil); got != "no component was restarted" {
		t.Errorf("nothing is told as %s", got)
	}
}

// TestRestarter: who asks waits until the component answers, and two who ask do not wait for each other.
func TestRestarter(t *testing.T) {
	var mu sync.Mutex
	var got []string
	both := make(chan struct{}, 2)
	r := &restarter{dir: t.TempDir(), clock: clock.RealClock{}}
	r.restart = func(_ context.Context, component, host string) error {
		both <- struct{}{}
		for len(both) < 2 {
			time.Sleep(time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, component+" on "+host)
		if host == "b" {
			return errors.New("no")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.run(ctx)
	}()
	for _, host := range []string{"a", "b"} {
		argv := r.command("etcd", host)
		if err := os.WriteFile(r.dir+"/etcd@"+host, nil, 0o600); err != nil || argv[0] != "/bin/sh" || !strings.Contains(argv[2], "etcd@"+host) {
			t.Fatal(argv, err)
		}
	}
	for range 3000 {
		if entries, err := os.ReadDir(r.dir); err == nil && len(entries) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-ended
	slices.Sort(got)
	if !slices.Equal(got, []string{"etcd on a", "etcd on b"}) || r.failed() == nil || !strings.Contains(r.failed().Error(), "restart etcd on b: no") {
		t.Errorf("restarted: %q (%v)", got, r.failed())
	}
	if all := r.since(time.Time{}); len(all) != 2 || len(overlaps(all)) != 1 {
		t.Errorf("the outages are %+v", all)
	}
}

func TestDescribeKey(t *testing.T) {
	var k v1alpha1.ServiceAccountKey
	k.Status.Keys = []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationActive}, {Number: 2, State: v1alpha1.GenerationTrusted}}
	k.Status.Rotation.Phase = v1alpha1.KeyDistributingTrust
	k.Status.Pending = []v1alpha1.PendingConsumer{{Host: "a", Reason: "NotInUse"}, {Host: "b", Reason: "AwaitingTurn"}}
	const want = "DistributingTrust (1 Active, 2 Trusted), waits for a (NotInUse), b (AwaitingTurn)"
	if got := describeKey(&k); got != want {
		t.Errorf("it is described as %q", got)
	}
	var f keyFollower
	if f.switched(&k) || f.retired(&k) {
		t.Error("a rotation that is under way is taken for its end")
	}
	k.Status.Rotation.Phase, k.Status.Acknowledged, k.Status.Required = "", new(int32(3)), new(int32(3))
	if !f.switched(&k) || f.retired(&k) {
		t.Error("the end of a rotation is not seen")
	}
	k.Status.Keys = k.Status.Keys[1:]
	if !f.retired(&k) {
		t.Error("the end of the old key is not seen")
	}
}
