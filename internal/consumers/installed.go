package consumers

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Installed is what a file on a host holds, for one use.
type Installed struct {
	Use          Use
	File         string // its name, for messages
	Certificates []*x509.Certificate
}

// Acknowledge is what a person can acknowledge of an object whose files hold what is issued. issued is its status, and bundles
// are what each ClusterCA publishes. Files that hold anything else are an error, which says what is to be brought to the host.
func Acknowledge(files []Installed, issued v1alpha1.CertificateStatus, bundles map[string][]*x509.Certificate) (v1alpha1.AcknowledgedDelivery, error) {
	var out v1alpha1.AcknowledgedDelivery
	var problems []error
	for _, f := range files {
		if f.Use.Key == corev1.TLSCertKey {
			problems = append(problems, f.isIssued(issued))
			continue
		}
		problems = append(problems, f.isPublished(bundles))
		for _, ca := range f.Use.CAs {
			if !slices.ContainsFunc(out.Trust, func(t v1alpha1.AcknowledgedTrust) bool { return t.Name == ca }) {
				out.Trust = append(out.Trust, v1alpha1.AcknowledgedTrust{Name: ca, BundleSHA256: pki.BundleDigest(bundles[ca])})
			}
		}
	}
	out.SerialNumber = issued.SerialNumber
	return out, errors.Join(problems...)
}

// isIssued says what is wrong with a file whose first certificate should be the one that is issued.
func (f Installed) isIssued(issued v1alpha1.CertificateStatus) error {
	switch {
	case issued.SHA256Fingerprint == "":
		return fmt.Errorf("%s: nothing is issued yet", f.File)
	case len(f.Certificates) == 0:
		return fmt.Errorf("%s holds no certificate", f.File)
	case pki.FingerprintOf(f.Certificates[0]) != issued.SHA256Fingerprint:
		return fmt.Errorf("%s holds certificate %s, and %s is issued: bring that one to the host first",
			f.File, pki.SerialOf(f.Certificates[0]), issued.SerialNumber)
	}
	return nil
}

// isPublished says what is wrong with a file that should hold the bundles of its CAs, and nothing else.
func (f Installed) isPublished(bundles map[string][]*x509.Certificate) error {
	var wanted []*x509.Certificate
	for _, ca := range f.Use.CAs {
		for _, cert := range bundles[ca] {
			wanted = append(wanted, cert)
			if !slices.ContainsFunc(f.Certificates, cert.Equal) {
				return fmt.Errorf("%s lacks the certificate of %q that ClusterCA %q publishes: bring the present bundle to the host first",
					f.File, cert.Subject, ca)
			}
		}
	}
	for _, cert := range f.Certificates {
		if !slices.ContainsFunc(wanted, cert.Equal) {
			return fmt.Errorf("%s holds a certificate of %q that none of %q publishes, or not any more: bring the present bundle to the host first",
				f.File, cert.Subject, f.Use.CAs)
		}
	}
	return nil
}
