package home

import (
	"context"
	"errors"

	"k8s.io/client-go/kubernetes/scheme"

	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/stall"
)

const ownNamespace, keysNamespace = "clusterpki-system", "clusterpki-authority"

// TestHome finds an authority namespace in several states, and says which the operator takes.
func TestHome(t *testing.T) {
	ns := func(uid types.UID) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: keysNamespace, UID: uid}}
	}
	records := func(uid string) client.Object {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: namespacesConfigMap}, Data: map[string]string{keysNamespace: uid},
		}
	}
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, Name: "ca.prod.k8s"}, Type: authority.SecretType}
	binding := func(kind, namespace, name string) client.Object {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, Name: "readers"},
			Subjects:   []rbacv1.Subject{{Kind: kind, Namespace: namespace, Name: name}},
		}
	}
	for name, tc := range map[string]struct {
		there   []client.Object
		refused string // "" where it is taken
	}{
		"missing, and not to be made":        {nil, "kubectl apply -k config/authority"},
		"empty":                              {[]client.Object{ns("a")}, ""},
		"recorded":                           {[]client.Object{ns("a"), records("a"), keys, binding("User", "", "eve")}, ""},
		"another than recorded":              {[]client.Object{ns("b"), records("a")}, "was made anew (UID b instead of a)"},
		"the operator reads there":           {[]client.Object{ns("a"), binding("ServiceAccount", ownNamespace, "clusterpki")}, ""},
		"a user reads there":                 {[]client.Object{ns("a"), binding("User", "", "eve")}, `RoleBinding "readers"`},
		"a service account of another place": {[]client.Object{ns("a"), binding("ServiceAccount", "prod", "clusterpki")}, `RoleBinding "readers"`},
		"it holds keys":                      {[]client.Object{ns("a"), keys}, "clusterpki authority init"},
		"it is going": {[]client.Object{&corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: keysNamespace}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating},
		}}, "is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(tc.there...).Build()
			h := &Home{Client: c, Namespace: keysNamespace, Own: ownNamespace, Served: "prod"}
			err := h.Ensure(t.Context())
			if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Fatalf("it says %v", err)
			}
			if err != nil {
				if h.UID() != "" {
					t.Error("it was taken")
				}
				return
			}
			var cm corev1.ConfigMap
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: ownNamespace, Name: namespacesConfigMap}, &cm); err != nil || cm.Data[keysNamespace] != "a" {
				t.Errorf("recorded is %v: %v", cm.Data, err)
			}
		})
	}
}

// TestInit takes a namespace that holds keys, once a person says so.
func TestInit(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: keysNamespace, UID: "b"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, Name: "ca.prod.k8s"}, Type: authority.SecretType},
	).Build()
	h := &Home{Client: c, Namespace: keysNamespace, Own: ownNamespace}
	if err := h.Ensure(t.Context()); err == nil {
		t.Fatal("it was taken")
	}
	if err := Init(t.Context(), c, ownNamespace, keysNamespace); err != nil {
		t.Fatal(err)
	}
	h.last.at = time.Time{} // a negative answer is kept for a second
	if err := h.Ensure(t.Context()); err != nil || h.UID() != "b" {
		t.Errorf("UID %q: %v", h.UID(), err)
	}
}

// TestNamespaceReserved refuses objects in the namespaces that are not for them.
func TestNamespaceReserved(t *testing.T) {
	h := &Home{Namespace: keysNamespace, Own: ownNamespace, last: finding{uid: "a"}}
	for ns, want := range map[string]string{keysNamespace: v1alpha1.ReasonNamespaceReserved, ownNamespace: v1alpha1.ReasonNamespaceReserved, "prod": ""} {
		got := ""
		if st, ok := stall.Of(h.Ready(t.Context(), ns)); ok {
			got = st.Reason
		}
		if got != want {
			t.Errorf("%s: the reason is %q", ns, got)
		}
	}
}

// TestSlowAnswer has the API server not answer a look at a namespace that is ready: nobody waits for it. Where it is not ready yet, nobody
// waits longer than his own time.
func TestSlowAnswer(t *testing.T) {
	asked, block := make(chan struct{}, 1), make(chan struct{})
	defer close(block)
	slow := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			asked <- struct{}{}
			<-block
			return errors.New("no answer")
		},
	})
	for uid, want := range map[string]error{"a": nil, "": context.Canceled} {
		h := &Home{Client: slow, Namespace: keysNamespace, Own: ownNamespace, last: finding{uid: uid}}
		go func() { _ = h.lookAgain(context.Background()) }()
		<-asked
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.Ensure(ctx); !errors.Is(err, want) || h.UID() != uid {
			t.Errorf("UID %q: %v", uid, err)
		}
	}
}
