package bench_test

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

var requests = flag.Int("requests", 2000, "how many requests of each kind to measure admission by, at either API server")

// BenchmarkAdmission creates objects in dry runs, as a PKI admin, at an API server with the policies of config/admission and at one without, in
// turn: what else the machine does meets both. What disturbs a request makes it longer, and never shorter: so the fastest ones are
// compared. CPU time is of all of them, and of what an API server does by itself meanwhile.
func BenchmarkAdmission(b *testing.B) {
	planes := []policedPlane{policed(b, true), policed(b, false)}
	t := newTable(b, "ms for each request", "with policies", "without", "more")
	for kind, o := range asked() {
		var times [2][]float64
		var cpu [2]float64
		before := []time.Duration{planes[0].apiServer.cpu(), planes[1].apiServer.cpu()}
		for range *requests {
			for i, p := range planes {
				times[i] = append(times[i], float64(p.request(o).Microseconds())/1000)
			}
		}
		for i, p := range planes {
			slices.Sort(times[i])
			cpu[i] = perObject(p.apiServer.cpu()-before[i], *requests)
		}
		row := func(what string, with, without float64) {
			t.row(kind+", "+what, figure(with), figure(without), figure(with-without))
		}
		fast := *requests / 20
		row("time, of 1 in 20 less than", times[0][fast], times[1][fast])
		row("time, median", median(times[0]), median(times[1]))
		row("CPU of the API server", cpu[0], cpu[1])
		t.report(kind+"-ms-more", times[0][fast]-times[1][fast])
	}
	t.row("load at the end", load())
	t.print()
}

// asked are the objects that are asked for, by their kinds.
func asked() map[string]client.Object {
	out := map[string]client.Object{"ClusterCA": given.CA("new"), "APIServerCertificate": given.Server("new"), "NodeCredential": given.Kubelet("new")}
	for _, o := range out {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return out
}

// policedPlane is a control plane, and the PKI admin there.
type policedPlane struct {
	*plane
	admin client.Client
}

// policed starts one, with the policies in force or without any.
func policed(b *testing.B, policies bool) policedPlane {
	b.Helper()
	p, _ := newPlane(b)
	kubectl := func(args ...string) {
		b.Helper()
		if _, _, err := p.env.Kubectl(b.Context(), args...); err != nil {
			b.Fatal(err)
		}
	}
	kubectl("apply", "-f", "config/rbac/clusterpki_pki_admin_role.yaml")
	kubectl("create", "clusterrole", "writer", "--verb=create", "--resource=clustercas.clusterpki.io,apiservercertificates.clusterpki.io,nodecredentials.clusterpki.io")
	for user, role := range map[string]string{"jane": "clusterpki-pki-admin", "joe": "writer"} {
		kubectl("create", "rolebinding", user, "--clusterrole="+role, "--user="+user)
	}
	if policies {
		kubectl("apply", "-k", "config/admission")
	}
	jane, joe := p.as("jane"), p.as("joe")
	for kind, o := range asked() {
		p.within(time.Minute, kind+" is answered as it should be", func() bool {
			err := joe.Create(b.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
			denied := err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
			return jane.Create(b.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll) == nil && (denied || !policies && err == nil)
		})
	}
	return policedPlane{p, jane}
}

// as is somebody's connection, which nothing slows down.
func (p *plane) as(user string) client.Client {
	p.t.Helper()
	cfg := testenv.AsUser(p.env.Config, user)
	cfg.QPS = -1
	c, err := testenv.Client(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// request is how long one takes.
func (p policedPlane) request(o client.Object) time.Duration {
	p.t.Helper()
	o = o.DeepCopyObject().(client.Object)
	start := time.Now()
	if err := p.admin.Create(p.t.Context(), o, client.DryRunAll); err != nil {
		p.t.Fatal(err)
	}
	return time.Since(start)
}
