package demo

import (
	"os"
	"slices"
	"testing"
)

// TestPlaceOneMaster: a cluster of one master has no load balancer, and the place of a node that comes is the next one.
func TestPlaceOneMaster(t *testing.T) {
	text, err := os.ReadFile("../../config/samples/" + oneMaster.file)
	if err != nil {
		t.Fatal(err)
	}
	pki, err := oneMaster.read(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := placesOf(pki, func(string, int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	p.move(pki)
	if p.balancer != "" || pki.Spec.Endpoint != "https://127.1.10.238:6443" {
		t.Errorf("the endpoint is %s, the balancer %q", pki.Spec.Endpoint, p.balancer)
	}
	if got := pki.Spec.ControlPlane.Hosts[0].Addresses; !slices.Equal(got, []string{"127.1.10.238", "10.1.10.238"}) {
		t.Errorf("the master has %q", got)
	}
	next, err := p.nodes[2].next("k8s-node4")
	if err != nil || next.address != "127.1.10.242" || next.host != "k8s-node4" {
		t.Errorf("the next node is at %+v: %v", next, err)
	}
	if _, err := threeMasters.read(text); err == nil {
		t.Error("one master is taken for three")
	}
}
