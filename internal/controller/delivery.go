package controller

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// A Secret says in its annotations which revision of each CA's bundle it holds, and when that or its
// certificate last changed. From this and the delivery of its owner follows what its consumer has acknowledged.
// What is absent is not acknowledged.

// deliveryFacts are the annotations for a Secret that is about to hold a certificate, and the bundles of the
// given revisions.
func deliveryFacts(seen *corev1.Secret, cert []byte, rendered map[string]int64, now time.Time) map[string]string {
	text := formatTrust(rendered)
	written := now.UTC().Format(time.RFC3339)
	if seen != nil && seen.Annotations[v1alpha1.TrustAnnotation] == text && string(seen.Data[corev1.TLSCertKey]) == string(cert) &&
		seen.Annotations[v1alpha1.WrittenTimeAnnotation] != "" {
		written = seen.Annotations[v1alpha1.WrittenTimeAnnotation]
	}
	return map[string]string{v1alpha1.TrustAnnotation: text, v1alpha1.WrittenTimeAnnotation: written}
}

// formatTrust writes CA names and revisions as in "front-proxy=1,k8s=3".
func formatTrust(revisions map[string]int64) string {
	names := slices.Sorted(maps.Keys(revisions))
	for i, name := range names {
		names[i] = name + "=" + strconv.FormatInt(revisions[name], 10)
	}
	return strings.Join(names, ",")
}

// heldTrust is the revision of a CA's bundle that a Secret says it holds, 0 for none.
func heldTrust(s *corev1.Secret, ca string) int64 {
	if s == nil {
		return 0
	}
	for entry := range strings.SplitSeq(s.Annotations[v1alpha1.TrustAnnotation], ",") {
		if name, text, ok := strings.Cut(entry, "="); ok && name == ca {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// acknowledgedTrust is the revision of a CA's bundle that the consumer of a Secret is known to use.
func acknowledgedTrust(s *corev1.Secret, ca string, d v1alpha1.DeliverySpec, now time.Time) int64 {
	held := heldTrust(s, ca)
	if held == 0 {
		return 0
	}
	if d.Mode == v1alpha1.DeliveryManual {
		return min(held, statedTrust(d.Acknowledged, ca))
	}
	if !arrived(s, d, now) {
		return 0
	}
	return held
}

// arrived says whether a mounted Secret, as it is now, is in use everywhere.
func arrived(s *corev1.Secret, d v1alpha1.DeliverySpec, now time.Time) bool {
	if d.Mode != v1alpha1.DeliveryMounted || d.PropagationDelay.Duration <= 0 {
		return false // of a version that knows more, or of a schema that knows less
	}
	written, err := time.Parse(time.RFC3339, s.Annotations[v1alpha1.WrittenTimeAnnotation])
	return err == nil && !now.Before(written.Add(d.PropagationDelay.Duration))
}

func statedTrust(a *v1alpha1.AcknowledgedDelivery, ca string) int64 {
	if a == nil {
		return 0
	}
	for _, t := range a.Trust {
		if t.Name == ca {
			return t.Revision
		}
	}
	return 0
}

// acknowledgedLeaf is the CA generation of the certificate that the consumer of a Secret is known to use, and
// that of the one that was issued last. 0 is none.
func acknowledgedLeaf(s *corev1.Secret, d v1alpha1.DeliverySpec, now time.Time) (inUse, issued int32) {
	if s == nil {
		return 0, 0
	}
	certs, err := pki.ParseCertificates(s.Data[corev1.TLSCertKey])
	if err != nil {
		return 0, 0
	}
	issued = number(s.Annotations[v1alpha1.GenerationAnnotation])
	if d.Mode == v1alpha1.DeliveryManual {
		if d.Acknowledged != nil && strings.EqualFold(d.Acknowledged.SerialNumber, pki.SerialOf(certs[0])) {
			return issued, issued
		}
		return 0, issued
	}
	if !arrived(s, d, now) {
		return 0, issued
	}
	return issued, issued
}
