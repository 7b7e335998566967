package demo

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// applyPKI applies a ClusterPKI, and beside it one credential for whoever makes the first bindings.
func (d *demo) applyPKI(s sample, mode v1alpha1.DeliveryMode) func(context.Context) error {
	return func(ctx context.Context) error {
		text, err := fs.ReadFile(d.Samples, s.file)
		if err != nil {
			return fmt.Errorf("read the samples: %w", err)
		}
		pki, err := s.read(text)
		if err != nil {
			return err
		}
		if d.places, err = placesOf(pki, listenable); err != nil {
			return err
		}
		d.places.move(pki)
		pki.Spec.Certificates.Delivery.Mode = mode
		pki.Namespace = namespace
		d.pki = pki.Name
		if err := d.create(ctx, pki); err != nil {
			return err
		}
		if err := d.kubectl(ctx, d.management.kubeconfig(), "get", "pki", "-n", namespace); err != nil {
			return err
		}
		return d.listChildren(ctx)
	}
}

// create creates the ClusterPKI, and waits until everything is issued.
func (d *demo) create(ctx context.Context, pki *v1alpha1.ClusterPKI) error {
	master := d.places.master.host
	first := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "super-admin"}}
	first.Spec.HostName, first.Spec.Role, first.Spec.CARef.Name = master, "SuperAdmin", d.pki+"-ca"
	first.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: d.pki + "-" + master + "-apiserver"}
	first.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{}
	first.Spec.Delivery = pki.Spec.Certificates.Delivery.Spec()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	for _, o := range []client.Object{ns, pki, first} {
		if err := d.management.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	for _, p := range slices.Concat(d.places.masters, d.places.nodes) {
		d.say("%-12s %s instead of %s", p.host, p.address, p.original)
	}
	if d.places.balancer != "" {
		d.say("%-12s %s", "balancer", d.places.balancer)
	}
	return d.management.waitReady(ctx)
}

// listChildren takes what the operator has made of the ClusterPKI for the objects of the hosts.
func (d *demo) listChildren(ctx context.Context) error {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, l := range []client.ObjectList{&servers, &credentials} {
		if err := d.management.client.List(ctx, l, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("list what is for the hosts: %w", err)
		}
	}
	var all []v1alpha1.Object
	for i := range servers.Items {
		all = append(all, &servers.Items[i])
	}
	for i := range credentials.Items {
		all = append(all, &credentials.Items[i])
	}
	d.objects = nil
	for _, o := range all {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("read %s: %w", o.GetName(), err)
		}
		u := &unstructured.Unstructured{Object: fields}
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.Kind()))
		d.objects = append(d.objects, u)
	}
	return nil
}
