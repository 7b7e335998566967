package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/target"
	"clusterpki.io/operator/test/given"
)

// restartGrace is how long a component may take to end: both wait for their clients as long as they may.
const restartGrace = time.Second

// newMasters has the operator issue what one ClusterPKI of three masters asks for, agents bring it, and starts a member of etcd and an API server on each.
func newMasters(t *testing.T) *cluster {
	t.Helper()
	c := emptyCluster(t)
	byAgent := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, LeaseDuration: metav1.Duration{Duration: 10 * time.Second}}
	all := intstr.FromString("100%")
	pki := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Name: "three"}}
	pki.Spec.ServiceCIDRs = []string{"10.96.0.0/12"}
	pki.Spec.ControlPlane.Kubelet = new(false)
	pki.Spec.Certificates.Delivery = v1alpha1.HostDelivery{Mode: byAgent.Mode, LeaseDuration: byAgent.LeaseDuration}
	pki.Spec.CertificateAuthorities.Etcd.Rotation = &v1alpha1.RotationSpec{MaxUnavailable: &all}
	pki.Spec.ServiceAccountKey.PrivateKey = &v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}
	for i := range 3 {
		h := &masterHost{address: fmt.Sprintf("127.77.30.%d", i+1)}
		c.hosts = append(c.hosts, h)
		pki.Spec.ControlPlane.Hosts = append(pki.Spec.ControlPlane.Hosts, v1alpha1.ControlPlaneHost{
			Name: fmt.Sprintf("three%d", i+1), Addresses: []string{h.address},
		})
	}
	port, err := strconv.ParseInt(c.port(c.hosts[0].address), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	pki.Spec.ControlPlane.Port = int32(port)
	pki.Spec.Endpoint = fmt.Sprintf("https://%s:%d", c.hosts[0].address, port)
	c.create(pki)
	c.accounts = "three-sa"
	for _, h := range pki.Spec.ControlPlane.Hosts {
		c.create(given.Kubelet(h.Name+"-super", func(n *v1alpha1.NodeCredential) {
			n.Spec.HostName, n.Spec.Role, n.Spec.CARef.Name, n.Spec.Delivery = h.Name, "SuperAdmin", "three-ca", byAgent
			n.Spec.APIServerRef.Name = "three-" + h.Name + "-apiserver"
		}))
	}
	c.issued()
	for i, h := range c.hosts {
		name := pki.Spec.ControlPlane.Hosts[i].Name
		c.prepare(h, name, "three-"+name+"-apiserver")
	}
	c.start(len(c.hosts))
	return c
}

// restartsFor restarts what the agent of a host asks for. Of what does not run here, such as kube-controller-manager, nothing is restarted.
func (c *cluster) restartsFor(ctx context.Context, h *masterHost, asks string) {
	for ctx.Err() == nil {
		entries, err := os.ReadDir(asks)
		if err != nil && ctx.Err() == nil {
			c.never("the restarts of %s: %v", h.files.Name, err)
		}
		for _, e := range entries {
			if h.runner.Runs(h.files, e.Name()) {
				c.restart(ctx, h, e.Name())
			}
			if err := os.Remove(filepath.Join(asks, e.Name())); err != nil {
				c.never("the restarts of %s: %v", h.files.Name, err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// restart restarts a component of a host, and waits until it answers. No other host may restart the same one meanwhile.
func (c *cluster) restart(ctx context.Context, h *masterHost, component string) {
	count := func(by int) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under[component] += by
		return c.under[component]
	}
	if n := count(1); n > 1 {
		c.never("%d hosts restart %s at once", n, component)
	}
	defer count(-1)
	if err := h.runner.Restart(h.files, component, restartGrace); err != nil {
		c.never("%s of %s: %v", component, h.files.Name, err)
		return
	}
	answers := h.files.EtcdAnswers
	if component == "kube-apiserver" {
		answers = func(ctx context.Context) error {
			return h.files.APIServerAnswers(ctx, target.Place{Address: h.address})
		}
	}
	for ctx.Err() == nil && answers(ctx) != nil {
		time.Sleep(100 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarts[component+" on "+h.files.Name]++
}
