package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
)

// editTimeout bounds the wait for one edit to reach every host: agents wait for what reloads by itself, before each of two steps.
const editTimeout = 20 * time.Minute

// editMasters changes names and networks of the cluster, and its endpoint, under load.
func (d *demo) editMasters(ctx context.Context) error {
	const san = "vip.prod.example"
	patch := fmt.Sprintf(`{"spec":{"controlPlane":{"certSANs":[%q]}}}`, san)
	if err := d.editAndWait(ctx, patch, func() error { return d.serveName(ctx, san) }); err != nil {
		return err
	}
	d.say("every API server is %s now, too", san)
	const address = "10.112.0.1"
	if err := d.editAndWait(ctx, `{"spec":{"serviceCIDRs":["10.112.0.0/12"]}}`, func() error { return d.serveName(ctx, address) }); err != nil {
		return err
	}
	d.say("every API server is %s now, the first address of another service network", address)
	if err := d.renameEndpoint(ctx); err != nil {
		return err
	}
	return d.settle(ctx, "the endpoint was renamed")
}

// editAndWait edits the ClusterPKI, and waits until something is so.
func (d *demo) editAndWait(ctx context.Context, patch string, so func() error) error {
	if err := d.editPKI(ctx, patch); err != nil {
		return err
	}
	return d.each(ctx, func() (bool, error) {
		err := so()
		if err != nil && d.Clock.Since(d.rotation.began) > editTimeout {
			return false, fmt.Errorf("not within %v: %w", editTimeout, err)
		}
		return err == nil, nil
	})
}

// serveName says whether every API server serves a certificate for a name or an address.
func (d *demo) serveName(ctx context.Context, name string) error {
	for _, m := range d.places.masters {
		text, err := os.ReadFile(filepath.Join(d.host(m.host).Directory, hostfiles.CA))
		if err != nil {
			return fmt.Errorf("read the CA: %w", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS13}}
		conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(d.places.serverOf(m.host), "https://"))
		if err != nil {
			return fmt.Errorf("the API server of %s: %w", m.host, err)
		}
		conn.Close() //nolint:errcheck // nothing was sent
	}
	return nil
}

// renameEndpoint lets a second load balancer be the endpoint, by one edit: once the API servers have its name, every kubeconfig that names the first one is
// rendered again, and what has read it restarts; they have the name of the first one until that is so everywhere.
func (d *demo) renameEndpoint(ctx context.Context) error {
	var servers []string
	for _, m := range d.places.masters {
		servers = append(servers, strings.TrimPrefix(d.places.serverOf(m.host), "https://"))
	}
	at := net.JoinHostPort(d.places.second(), strconv.Itoa(d.places.api))
	next, err := startBalancer(ctx, at, servers)
	if err != nil {
		return err
	}
	d.second = next
	d.say("another load balancer at https://%s", at)
	d.say("the service account's kubeconfig was handed out by hand: certSANs has the former name for it")
	patch := fmt.Sprintf(`{"spec":{"endpoint":"https://%s","controlPlane":{"certSANs":["vip.prod.example",%q]}}}`, at, d.places.balancer)
	err = d.editAndWait(ctx, patch, func() error {
		for _, n := range d.places.nodes {
			name := filepath.Join(d.host(n.host).Directory, hostfiles.ForRole("Kubelet", "").Kubeconfig)
			text, err := os.ReadFile(name) //nolint:gosec // what the host's agent wrote
			if err != nil {
				return fmt.Errorf("look for the endpoint: %w", err)
			}
			if !strings.Contains(string(text), "https://"+at) {
				return fmt.Errorf("%s does not name it", name)
			}
		}
		if n := len(d.restarter.since(d.rotation.began)); n < 2*len(d.places.nodes) { // kubelet and kube-proxy
			return fmt.Errorf("%d components were restarted", n)
		}
		c, err := d.newAdmin()
		if err != nil {
			return err
		}
		return nodesReady(ctx, c, d.places.nodes)
	})
	if err != nil {
		return err
	}
	d.say("every node uses it")
	return d.each(ctx, func() (bool, error) {
		left, err := d.retained(ctx, d.places.balancer)
		if err != nil || left {
			return false, err
		}
		d.say("no kubeconfig of a host names the former one: it is not retained any more")
		return true, nil
	})
}

// retained says whether a name that has left the ClusterPKI stays in the API servers' certificates.
func (d *demo) retained(ctx context.Context, name string) (bool, error) {
	var c v1alpha1.ClusterPKI
	if err := d.management.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: d.pki}, &c); err != nil {
		return false, fmt.Errorf("see which names are retained: %w", err)
	}
	if d.Clock.Since(d.rotation.began) > editTimeout {
		return false, fmt.Errorf("not within %v: %+v", editTimeout, c.Status.RetainedSANs)
	}
	return c.Status.Endpoint != c.Spec.Endpoint || slices.ContainsFunc(c.Status.RetainedSANs, func(s v1alpha1.RetainedSAN) bool { return s.Name == name }), nil
}
