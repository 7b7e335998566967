package attacks_test

import (
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

func leases(v *victim) client.Client {
	v.t.Helper()
	return v.attacker(may("leases", "get", "list", "watch", "update", "patch"))
}

// forgeLease lets somebody who may write Leases, and read no Secret, say of a host that it has what a rotation waits for.
func forgeLease(v *victim, mallory client.Client) {
	name := v.newcomer()
	host := kubelet(name)
	host.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent}
	v.create(host)
	v.ready(&v1alpha1.NodeCredential{}, name)
	v.must(v.reports(admin, name, v.leaf(name)))
	var before coordinationv1.Lease
	v.must(v.get(&before, name+"-tls"))
	v.edit(&v1alpha1.ClusterCA{}, "k8s", func(o client.Object) { o.(*v1alpha1.ClusterCA).Spec.Rotation.Trigger = "lease" })
	v.phase(v1alpha1.PhaseDistributingTrust)
	testenv.Eventually(v.t, "both CAs are there", func() error {
		certs, err := pki.ParseCertificates(v.secret(name + "-tls").Data["ca.crt"])
		if err == nil && len(certs) != 2 {
			err = errMissing
		}
		return err
	})
	write := func(change func(*coordinationv1.Lease)) error {
		var l coordinationv1.Lease
		v.must(mallory.Get(v.t.Context(), client.ObjectKey{Namespace: v.ns, Name: name + "-tls"}, &l))
		change(&l)
		l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
		return ignoreConflict(mallory.Update(v.t.Context(), &l))
	}
	own, _, _ := v.evil()
	stolen := v.leaf(name)
	for what, forge := range map[string]func() error{
		"by a key of his own, in the name of the certificate": func() error { return v.reports(mallory, name, pki.Leaf{Cert: stolen.Cert, Key: own.Key}) },
		"by a certificate of his own":                         func() error { return v.reports(mallory, name, pki.Leaf{Cert: own.Cert, Key: own.Key}) },
		"by nobody": func() error {
			v.must(v.reports(mallory, name, pki.Leaf{Cert: stolen.Cert, Key: own.Key}))
			return write(func(l *coordinationv1.Lease) { delete(l.Annotations, v1alpha1.ReportSignatureAnnotation) })
		},
		"what the host said before": func() error {
			return write(func(l *coordinationv1.Lease) { maps.Copy(l.Annotations, before.Annotations) })
		},
	} {
		v.must(forge())
		time.Sleep(1500 * time.Millisecond)
		var ca v1alpha1.ClusterCA
		v.must(v.get(&ca, "k8s"))
		if ca.Status.Rotation.Phase != v1alpha1.PhaseDistributingTrust {
			v.t.Fatalf("%s: the phase is %q", what, ca.Status.Rotation.Phase)
		}
	}
	testenv.Eventually(v.t, "the rotation goes on once the host itself speaks", func() error {
		if err := ignoreConflict(v.reports(admin, name, v.leaf(name))); err != nil {
			return err
		}
		var ca v1alpha1.ClusterCA
		v.must(v.get(&ca, "k8s"))
		if ca.Status.LastRotation.Trigger != "lease" {
			return fmt.Errorf("it is in phase %q", ca.Status.Rotation.Phase)
		}
		return nil
	})
	v.completed("lease")
	v.leaves(host)
	v.rotated()
}

// leaves deletes a credential, and what was made for it: nothing collects garbage here.
func (v *victim) leaves(c *v1alpha1.NodeCredential) {
	v.t.Helper()
	v.must(admin.Delete(v.t.Context(), c))
	for _, secret := range c.SecretNames() {
		v.must(admin.Delete(v.t.Context(), v.secret(secret)))
	}
}

// leaf is the certificate of a credential, with its key.
func (v *victim) leaf(credential string) pki.Leaf {
	v.t.Helper()
	s := v.secret(credential + "-tls")
	leaf, err := pki.ParseLeaf(s.Data["tls.crt"], s.Data["tls.key"])
	v.must(err)
	return leaf
}

// reports lets somebody say that everything which is issued for a credential is in use, and sign that.
func (v *victim) reports(as client.Client, credential string, by pki.Leaf) error {
	v.t.Helper()
	state, err := ack.StateOf(v.secret(credential+"-tls"), v.secret(credential+"-kubeconfig"))
	v.must(err)
	var l coordinationv1.Lease
	v.must(as.Get(v.t.Context(), client.ObjectKey{Namespace: v.ns, Name: credential + "-tls"}, &l))
	report := ack.Report{Host: "k8s-" + credential, Time: time.Now(), Installed: &state, Verified: &state}
	v.must(testenv.Report(&l, report, by))
	return as.Update(v.t.Context(), &l)
}
