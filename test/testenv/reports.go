package testenv

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// Report writes a report into a Lease as an agent does that has a certificate and its key: of the object for which the operator made the Lease, by the
// report's own host and time.
func Report(l *coordinationv1.Lease, r ack.Report, by pki.Leaf) error {
	r.UID, r.SignedBy = string(consumers.Unsealed(l.Annotations).UID), pki.SerialOf(by.Cert)
	text, err := r.Text()
	if err != nil {
		return err
	}
	signature, err := ack.Sign(text, by.Key)
	if err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&l.ObjectMeta, v1alpha1.ReportAnnotation, text)
	metav1.SetMetaDataAnnotation(&l.ObjectMeta, v1alpha1.ReportSignatureAnnotation, signature)
	l.Spec.HolderIdentity, l.Spec.RenewTime = &r.Host, &metav1.MicroTime{Time: r.Time}
	return nil
}
