package e2e_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// request is one request of an agent's identity.
type request func(context.Context, client.WithWatch) error

// watches asks for a watch, and ends it.
func watches(l client.ObjectList, opts ...client.ListOption) request {
	return func(ctx context.Context, c client.WithWatch) error {
		w, err := c.Watch(ctx, l, opts...)
		if err == nil {
			w.Stop()
		}
		return err
	}
}

func lists(l client.ObjectList, opts ...client.ListOption) request {
	return func(ctx context.Context, c client.WithWatch) error { return c.List(ctx, l, opts...) }
}

func gets(o client.Object, namespace, name string) request {
	return func(ctx context.Context, c client.WithWatch) error {
		return c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	}
}

// writes are requests to create, update, patch and delete an object, which may exist.
func writes(what string, o client.Object) map[string]request {
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`))
	copied := func() client.Object { return o.DeepCopyObject().(client.Object) }
	return map[string]request{
		"create " + what: func(ctx context.Context, c client.WithWatch) error { return c.Create(ctx, copied()) },
		"update " + what: func(ctx context.Context, c client.WithWatch) error {
			next := copied()
			next.SetResourceVersion("1")
			return c.Update(ctx, next)
		},
		"patch " + what:  func(ctx context.Context, c client.WithWatch) error { return c.Patch(ctx, copied(), patch) },
		"delete " + what: func(ctx context.Context, c client.WithWatch) error { return c.Delete(ctx, copied()) },
		"delete every " + what: func(ctx context.Context, c client.WithWatch) error {
			return c.DeleteAllOf(ctx, copied(), client.InNamespace(o.GetNamespace()))
		},
	}
}

// all merges requests.
func all(parts ...map[string]request) map[string]request {
	out := map[string]request{}
	for _, p := range parts {
		maps.Copy(out, p)
	}
	return out
}

// forbidden is everything that the agent of a host, which has a credential, must not be able to do.
func forbidden(own *v1alpha1.NodeCredential, grant string) map[string]request {
	in := client.InNamespace(namespace)
	byName := client.MatchingFields{"metadata.name": own.TLSSecretName()}
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	account := metav1.ObjectMeta{Namespace: agents.DefaultNamespace, Name: agents.AccountName(namespace, own.Spec.HostName)}
	other := "k8s-node1-kubelet"
	secrets := all(map[string]request{
		"read another host's Secret":                      gets(&corev1.Secret{}, namespace, other+"-tls"),
		"read another host's kubeconfig":                  gets(&corev1.Secret{}, namespace, other+"-kubeconfig"),
		"read its own kubeconfig, which the host renders": gets(&corev1.Secret{}, namespace, own.KubeconfigSecretName()),
		"read the API server's Secret":                    gets(&corev1.Secret{}, namespace, "k8s-master-tls"),
		"read a Secret of another namespace":              gets(&corev1.Secret{}, "kube-system", own.TLSSecretName()),
		"list Secrets":                                    lists(&corev1.SecretList{}, in),
		"list Secrets of all namespaces":                  lists(&corev1.SecretList{}),
		"list its own Secret by its name":                 lists(&corev1.SecretList{}, in, byName),
		"watch Secrets":                                   watches(&corev1.SecretList{}, in),
		"watch Secrets of all namespaces":                 watches(&corev1.SecretList{}),
		"watch another host's Secret":                     watches(&corev1.SecretList{}, in, client.MatchingFields{"metadata.name": other + "-tls"}),
	}, writes("its own Secret", &corev1.Secret{ObjectMeta: at(own.TLSSecretName())}),
		writes("its own kubeconfig", &corev1.Secret{ObjectMeta: at(own.KubeconfigSecretName())}),
		writes("another host's Secret", &corev1.Secret{ObjectMeta: at(other + "-tls")}), writes("a new Secret", &corev1.Secret{ObjectMeta: at("new")}))

	leases := all(map[string]request{
		"read another host's Lease": gets(&coordinationv1.Lease{}, namespace, "k8s-agent4-kubelet-tls"),
		"list Leases":               lists(&coordinationv1.LeaseList{}, in),
		"list its own Lease":        lists(&coordinationv1.LeaseList{}, in, byName),
		"watch Leases":              watches(&coordinationv1.LeaseList{}, in),
		"list the Nodes' Leases":    lists(&coordinationv1.LeaseList{}, client.InNamespace("kube-node-lease")),
	}, writes("another host's Lease", &coordinationv1.Lease{ObjectMeta: at("k8s-agent4-kubelet-tls")}),
		writes("a new Lease", &coordinationv1.Lease{ObjectMeta: at("new")}),
		except("update its own Lease", writes("its own Lease", &coordinationv1.Lease{ObjectMeta: at(own.LeaseName())})))

	custom := map[string]request{}
	for kind, o := range map[string]struct {
		object client.Object
		list   client.ObjectList
	}{
		"its own NodeCredential":  {&v1alpha1.NodeCredential{ObjectMeta: at(own.Name), Spec: own.Spec}, &v1alpha1.NodeCredentialList{}},
		"an APIServerCertificate": {&v1alpha1.APIServerCertificate{ObjectMeta: at("k8s-master")}, &v1alpha1.APIServerCertificateList{}},
		"a ClusterCA":             {&v1alpha1.ClusterCA{ObjectMeta: at("k8s")}, &v1alpha1.ClusterCAList{}},
	} {
		maps.Copy(custom, writes(kind, o.object))
		custom["read "+kind] = gets(o.object.DeepCopyObject().(client.Object), namespace, o.object.GetName())
		custom["list "+kind], custom["watch "+kind] = lists(o.list, in), watches(o.list, in)
		custom["update the status of "+kind] = func(ctx context.Context, c client.WithWatch) error {
			next := o.object.DeepCopyObject().(client.Object)
			next.SetResourceVersion("1")
			return c.Status().Update(ctx, next)
		}
	}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}
	others := all(map[string]request{
		"list ConfigMaps": lists(&corev1.ConfigMapList{}, in), "list pods": lists(&corev1.PodList{}, in), "list namespaces": lists(&corev1.NamespaceList{}),
		"list nodes": lists(&corev1.NodeList{}), "list ServiceAccounts": lists(&corev1.ServiceAccountList{}, in),
		"read its own Role": gets(&rbacv1.Role{}, namespace, grant), "list Roles": lists(&rbacv1.RoleList{}, in), "list bindings": lists(&rbacv1.RoleBindingList{}, in),
		"ask for a token of another host's agent": func(ctx context.Context, c client.WithWatch) error {
			another := metav1.ObjectMeta{Namespace: agents.DefaultNamespace, Name: agents.AccountName(namespace, "k8s-agent4")}
			return c.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: another}, &authenticationv1.TokenRequest{})
		},
		"ask for a token of another account": func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: at("default")}, &authenticationv1.TokenRequest{})
		},
	}, writes("a ConfigMap", &corev1.ConfigMap{ObjectMeta: at("new")}), writes("its own ServiceAccount", &corev1.ServiceAccount{ObjectMeta: account}),
		writes("its own Role", &rbacv1.Role{ObjectMeta: at(grant)}), writes("its own RoleBinding", &rbacv1.RoleBinding{ObjectMeta: at(grant), RoleRef: role}),
		except("delete every namespace", writes("namespace", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}})),
		writes("a binding for all", &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "new"}, RoleRef: role}))
	return all(secrets, leases, custom, others)
}

// except leaves one request out.
func except(what string, requests map[string]request) map[string]request {
	delete(requests, what)
	return requests
}

// TestAgentMayDoNothingElse lets an agent's identity try all that an attacker on the host would.
func TestAgentMayDoNothingElse(t *testing.T) {
	other := newCredential("k8s-agent4", "kubelet", "Kubelet")
	if err := shared.management.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	own := newCredential("k8s-agent3", "kubelet", "Kubelet")
	h := byOperator(t, "k8s-agent3", own)
	for _, name := range []string{own.LeaseName(), other.LeaseName()} {
		testenv.Eventually(t, "there is Lease "+name, func() error { return gets(&coordinationv1.Lease{}, namespace, name)(t.Context(), shared.management) })
	}
	as, err := client.NewWithWatch(h.identity, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	mayKeepItsOwn(t, as, own)
	requests := forbidden(own, grantOf(t, "k8s-agent3"))
	for _, what := range slices.Sorted(maps.Keys(requests)) {
		if err := requests[what](t.Context(), as); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	disguised := rest.CopyConfig(h.identity)
	disguised.Impersonate = rest.ImpersonationConfig{UserName: "admin", Groups: []string{"system:masters"}}
	if as, err = client.NewWithWatch(disguised, client.Options{Scheme: controller.Scheme()}); err != nil {
		t.Fatal(err)
	}
	if err := lists(&corev1.SecretList{})(t.Context(), as); !apierrors.IsForbidden(err) {
		t.Errorf("as an administrator: %v", err)
	}
}

// grantOf is the name of the Role and the RoleBinding of a host's agent.
func grantOf(t *testing.T, host string) string {
	t.Helper()
	var all rbacv1.RoleList
	if err := shared.management.List(t.Context(), &all, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, r := range all.Items {
		if h, ok := agents.HostOf(r.Annotations); ok && h.Name == host {
			return r.Name
		}
	}
	t.Fatalf("the agent of %s has no Role", host)
	return ""
}

// mayKeepItsOwn expects that an agent's identity may do what it is for.
func mayKeepItsOwn(t *testing.T, as client.WithWatch, own *v1alpha1.NodeCredential) {
	t.Helper()
	in, byName := client.InNamespace(namespace), client.MatchingFields{"metadata.name": own.TLSSecretName()}
	for what, do := range map[string]request{
		"read its own Secret":  gets(&corev1.Secret{}, namespace, own.TLSSecretName()),
		"watch its own Secret": watches(&corev1.SecretList{}, in, byName),
		"update its own Lease": func(ctx context.Context, c client.WithWatch) error {
			var l coordinationv1.Lease
			if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: own.LeaseName()}, &l); err != nil {
				return err
			}
			return c.Update(ctx, &l)
		},
	} {
		testenv.Eventually(t, what, func() error { return do(t.Context(), as) })
	}
}
