package bench_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// plane is a control plane that nobody else uses.
type plane struct {
	t               testing.TB
	env             *testenv.ControlPlane
	api             client.WithWatch
	kubeconfig      string // of its administrator
	apiServer, etcd process
}

func newPlane(t testing.TB) (p *plane, stop func()) {
	t.Helper()
	env, err := testenv.Start()
	if err != nil {
		t.Fatal(err)
	}
	p = &plane{t: t, env: env}
	stop = sync.OnceFunc(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	if p.kubeconfig, err = env.KubeconfigFile(); err != nil {
		t.Fatal(err)
	}
	own := rest.CopyConfig(env.Config)
	own.QPS = -1
	if p.api, err = testenv.Client(own); err != nil {
		t.Fatal(err)
	}
	p.apiServer, p.etcd = childNamed(t, "kube-apiserver"), childNamed(t, "etcd")
	return p, stop
}

// within waits until something is so. It is not testenv.Eventually, because a mass of objects takes longer than anything there.
func (p *plane) within(limit time.Duration, what string, done func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v it is not so that %s", limit, what)
		}
	}
}

func (p *plane) create(objects ...client.Object) {
	p.t.Helper()
	for _, o := range objects {
		if err := p.api.Create(p.t.Context(), o); err != nil {
			p.t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

func (p *plane) get(namespace, name string, o client.Object) {
	p.t.Helper()
	if err := p.api.Get(p.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
		p.t.Fatal(err)
	}
}

// A key is how CAs and leaves of a benchmark are made.
type key struct {
	algorithm v1alpha1.KeyAlgorithm
	size      int32
}

func (k key) String() string { return fmt.Sprintf("%s-%d", k.algorithm, k.size) }

func (k key) spec() v1alpha1.PrivateKeySpec {
	return v1alpha1.PrivateKeySpec{Algorithm: k.algorithm, Size: k.size}
}

var ecdsa, rsa2048, rsa4096 = key{v1alpha1.ECDSA, 256}, key{v1alpha1.RSA, 2048}, key{v1alpha1.RSA, 4096}

// soon is how long the benchmark's Secrets take to be in use: the shortest time there is.
var soon = v1alpha1.DeliverySpec{
	Mode: v1alpha1.DeliveryMounted, AcceptAssumed: v1alpha1.AcceptAssumedAlways, PropagationDelay: metav1.Duration{Duration: time.Second},
}

// cluster makes a namespace with a CA, an API server, and the first credential, and waits for them.
func (p *plane) cluster(namespace string, k key, mods ...func(*v1alpha1.ClusterCA)) {
	p.t.Helper()
	ca := &v1alpha1.ClusterCA{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s"},
		Spec:       v1alpha1.ClusterCASpec{PrivateKey: k.spec(), Delivery: soon},
	}
	for _, mod := range mods {
		mod(ca)
	}
	p.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, ca, &v1alpha1.APIServerCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s-master"},
		Spec: v1alpha1.APIServerCertificateSpec{
			CARef: v1alpha1.CAReference{Name: "k8s"}, HostName: "k8s-master", Endpoint: "https://k8s-master:6443", PrivateKey: k.spec(), Delivery: soon,
		},
	}, credential(namespace, nodeName(0), k))
	p.within(2*time.Minute, "the first credential is Ready", func() bool { return p.isReady(namespace, nodeName(0)) })
}

// nodeName is of the same length for all.
func nodeName(i int) string { return fmt.Sprintf("node%06d", i) }

func credential(namespace, name string, k key) *v1alpha1.NodeCredential {
	return &v1alpha1.NodeCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.NodeCredentialSpec{
			CARef: v1alpha1.CAReference{Name: "k8s"}, APIServerRef: &v1alpha1.APIServerReference{Name: "k8s-master"},
			HostName: name, Role: "Kubelet", Kubeconfig: &v1alpha1.KubeconfigSpec{}, PrivateKey: k.spec(), Delivery: soon,
		},
	}
}

func (p *plane) isReady(namespace, name string) bool {
	p.t.Helper()
	var c v1alpha1.NodeCredential
	if err := p.api.Get(p.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &c); err != nil {
		p.t.Fatal(err)
	}
	return meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition)
}

// createMany creates the credentials 1 to n, as many at a time as there are workers.
func (p *plane) createMany(namespace string, n int, k key, mods ...func(*v1alpha1.NodeCredential)) {
	each(n, func(i int) {
		c := credential(namespace, nodeName(i+1), k)
		for _, mod := range mods {
			mod(c)
		}
		if err := p.api.Create(p.t.Context(), c); err != nil {
			p.t.Error(err)
		}
	})
}

// each calls do with 0 to n-1, as many at a time as there are workers.
func each(n int, do func(int)) {
	var wait sync.WaitGroup
	for first := range workers {
		wait.Go(func() {
			for i := first; i < n; i += workers {
				do(i)
			}
		})
	}
	wait.Wait()
}

// readyOf counts the credentials of a namespace that are Ready with a certificate of some generation of their CA.
func (p *plane) readyOf(namespace string, generation int32) int {
	p.t.Helper()
	n, next := 0, ""
	for {
		var list v1alpha1.NodeCredentialList
		if err := p.api.List(p.t.Context(), &list, client.InNamespace(namespace), client.Limit(500), client.Continue(next)); err != nil {
			p.t.Fatal(err)
		}
		for i := range list.Items {
			st := &list.Items[i].Status
			if st.Certificate.IssuerGeneration == generation && meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ReadyCondition) {
				n++
			}
		}
		if next = list.Continue; next == "" {
			return n
		}
	}
}

// edit changes an object, again and again while the operator is faster.
func edit[T client.Object](p *plane, namespace, name string, o T, change func(T)) {
	for {
		if err := p.api.Get(p.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
			p.t.Error(err)
			return
		}
		change(o)
		err := p.api.Update(context.WithoutCancel(p.t.Context()), o)
		if !apierrors.IsConflict(err) {
			if err != nil {
				p.t.Error(err)
			}
			return
		}
	}
}
