package testenv

import (
	"context"
	"fmt"
	"maps"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// pool prepares a namespace with a ConfigMap, and counts what it has started.
var (
	running int
	pool    = &Pool{Prepare: func(ctx context.Context, p *Plane) error {
		running++
		p.OnStop(func() error { running--; return nil })
		api, err := kubernetes.NewForConfig(p.Config)
		if err != nil {
			return err
		}
		if _, err := api.CoreV1().Namespaces().Create(ctx, namespace("prod"), metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err = api.CoreV1().ConfigMaps("prod").Create(ctx, configMap("prepared"), metav1.CreateOptions{})
		return err
	}}
)

func TestMain(m *testing.M) {
	if os.Getenv(startOnly) != "" {
		onlyStart()
	}
	code := Run(m, pool)
	if running != 0 {
		fmt.Fprintln(os.Stderr, running, "are running yet")
		code = 1
	}
	os.Exit(code)
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// TestPool leaves a mess, of which whoever comes next finds nothing, on the same control plane.
func TestPool(t *testing.T) {
	for _, mess := range []struct {
		name string
		make func(*testing.T, kubernetes.Interface, *Plane)
	}{
		{"more", func(t *testing.T, api kubernetes.Interface, _ *Plane) {
			_, err := api.CoreV1().Namespaces().Create(t.Context(), namespace("more"), metav1.CreateOptions{})
			must(t, err)
			_, err = api.CoreV1().ConfigMaps("more").Create(t.Context(), configMap("more"), metav1.CreateOptions{})
			must(t, err)
		}},
		{"kinds", func(t *testing.T, _ kubernetes.Interface, p *Plane) {
			_, err := envtest.InstallCRDs(p.Config, envtest.CRDInstallOptions{Paths: []string{Root() + "/config/crd/bases"}})
			must(t, err)
		}},
		{"changed", func(t *testing.T, api kubernetes.Interface, _ *Plane) {
			changed := configMap("prepared")
			changed.Data = map[string]string{"changed": "true"}
			_, err := api.CoreV1().ConfigMaps("prod").Update(t.Context(), changed, metav1.UpdateOptions{})
			must(t, err)
		}},
		{"gone", func(t *testing.T, api kubernetes.Interface, _ *Plane) {
			must(t, api.CoreV1().ConfigMaps("prod").Delete(t.Context(), "prepared", metav1.DeleteOptions{}))
		}},
	} {
		var host string
		t.Run(mess.name, func(t *testing.T) {
			p := pool.Borrow(t)
			host = p.Config.Host
			api, err := kubernetes.NewForConfig(p.Config)
			must(t, err)
			mess.make(t, api, p)
		})
		t.Run("after "+mess.name, func(t *testing.T) { checkPrepared(t, host) })
	}
}

func checkPrepared(t *testing.T, host string) {
	t.Helper()
	p := pool.Borrow(t)
	if p.Config.Host != host {
		t.Errorf("the control plane is another one")
	}
	now, err := p.objects.look(t.Context())
	must(t, err)
	if !maps.Equal(now, p.prepared) {
		t.Errorf("there is\n%v\nwant\n%v", now, p.prepared)
	}
	api, err := kubernetes.NewForConfig(p.Config)
	must(t, err)
	prepared, err := api.CoreV1().ConfigMaps("prod").Get(t.Context(), "prepared", metav1.GetOptions{})
	must(t, err)
	if len(prepared.Data) > 0 || running != 1 {
		t.Errorf("%v, and %d are running", prepared.Data, running)
	}
	if _, err := api.CoreV1().Namespaces().Get(t.Context(), "more", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startOnly has this program do nothing but start a control plane.
const startOnly = "TESTENV_START_ONLY"

// onlyStart says when it has.
func onlyStart() {
	if _, err := StartEmpty(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}
