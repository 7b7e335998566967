package main

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// fixture is what the dashboard shows.
type fixture struct{ api client.Client }

// fill makes two clusters: one as kubeadm has it, with hosts that take some seconds each to use what they are sent, and a
// small one where something is wrong.
func (w fixture) fill(ctx context.Context) error {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "staging"}},
	}
	objects = append(objects, cluster("prod", "k8s-master", 3, "Kubelet", "KubeProxy", "KubeletServing")...)
	objects = append(objects, cluster("staging", "edge", 1, "Kubelet")...)
	objects = append(objects, credential("staging", "edge", "k8s-next", "metrics", "Kubelet", 1))
	for _, o := range objects {
		if err := w.api.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	return testenv.Wait(ctx, func() error {
		var list v1alpha1.NodeCredentialList
		if err := w.api.List(ctx, &list, client.InNamespace("prod")); err != nil {
			return err
		}
		for _, c := range list.Items {
			if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition) {
				return fmt.Errorf("%s is not Ready", c.Name)
			}
		}
		return nil
	})
}

func cluster(namespace, master string, nodes int, roles ...v1alpha1.Role) []client.Object {
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	all := intstr.FromString("100%")
	long := metav1.Duration{Duration: 10 * 365 * 24 * time.Hour}
	out := []client.Object{
		&v1alpha1.ClusterCA{ObjectMeta: at("k8s"), Spec: v1alpha1.ClusterCASpec{
			Subject: v1alpha1.CASubject{CommonName: "k8s-ca"}, Validity: long, Rotation: v1alpha1.RotationSpec{MaxUnavailable: &all},
		}},
		&v1alpha1.ClusterCA{ObjectMeta: at("etcd"), Spec: v1alpha1.ClusterCASpec{Validity: metav1.Duration{Duration: 6 * 365 * 24 * time.Hour}}},
		&v1alpha1.APIServerCertificate{ObjectMeta: at(master), Spec: v1alpha1.APIServerCertificateSpec{
			CARef: v1alpha1.CAReference{Name: "k8s"}, HostName: master, Endpoint: "https://" + master + ":6443", Delivery: mounted(3),
		}},
		credential(namespace, master, "k8s", master+"-controller-manager", "ControllerManager", 2),
		credential(namespace, master, "k8s", master+"-scheduler", "Scheduler", 2),
		credential(namespace, master, "k8s", master+"-admin", "Admin", 1),
		credential(namespace, master, "etcd", master+"-etcd-client", "EtcdClient", 2),
		credential(namespace, master, "etcd", master+"-etcd-server", "EtcdServer", 2),
	}
	for i := range nodes {
		host := fmt.Sprintf("k8s-node%d", i+1)
		for j, role := range roles {
			name := host + []string{"-kubelet", "-kube-proxy", "-kubelet-serving"}[j]
			out = append(out, credential(namespace, host, "k8s", name, role, 1+5*i))
		}
	}
	return out
}

func credential(namespace, host, ca, name string, role v1alpha1.Role, seconds int) client.Object {
	return &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.NodeCredentialSpec{
		CARef: v1alpha1.CAReference{Name: ca}, HostName: host, Role: role, Delivery: mounted(seconds),
	}}
}

// mounted counts as in use after some seconds.
func mounted(seconds int) v1alpha1.DeliverySpec {
	return v1alpha1.DeliverySpec{
		Mode: v1alpha1.DeliveryMounted, AcceptAssumed: v1alpha1.AcceptAssumedAlways, PropagationDelay: metav1.Duration{Duration: time.Duration(seconds) * time.Second},
	}
}

// edit changes spec.validity of the root CA of prod.
func (w fixture) edit(ctx context.Context, validity string) error {
	ca := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"validity":%q}}`, validity))
	return w.api.Patch(ctx, ca, patch)
}

// user makes a ServiceAccount that may look into a namespace, "" for all, and returns a token.
func (w fixture) user(ctx context.Context, name, namespace string) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"clusterpki.io"}, Resources: []string{"clusterpkis", "clustercas", "serviceaccountkeys", "apiservercertificates", "nodecredentials"}, Verbs: []string{"list", "watch"},
	}}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	var binding client.Object = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects, RoleRef: ref}
	if namespace != "" {
		binding = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Subjects: subjects, RoleRef: ref}
	}
	for _, o := range []client.Object{account, role, binding} {
		if err := w.api.Create(ctx, o); err != nil {
			return "", err
		}
	}
	request := &authenticationv1.TokenRequest{}
	err := w.api.SubResource("token").Create(ctx, account, request)
	return request.Status.Token, err
}

// revoke ends a user's tokens.
func (w fixture) revoke(ctx context.Context, name string) error {
	return w.api.Delete(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
}
