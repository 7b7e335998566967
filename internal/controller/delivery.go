package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// revisions are the revisions of the bundles of ClusterCAs, by name.
type revisions map[string]int64

// holding is the record, in an annotation of a generated object, of what its contents depend on. From it and the
// delivery of the object's owner follows what the consumer has acknowledged. What is absent is not acknowledged.
type holding struct {
	// Trust says which bundles each key of the object's data holds.
	Trust map[string]revisions `json:"trust,omitempty"`
	// TrustTime is since when these bundles have stood there.
	TrustTime time.Time `json:"trustTime,omitzero"`
	// Issuer is the ClusterCA that signed the certificate, and Generation the key that did.
	Issuer     string `json:"issuer,omitempty"`
	Generation int32  `json:"generation,omitempty"`
	// IssuerTime is since when a certificate of that key has stood there. A renewal by the same key is no news.
	IssuerTime time.Time `json:"issuerTime,omitzero"`
	// Left are ClusterCAs that the object depended on before, until what it holds now has arrived.
	Left []string `json:"left,omitempty"`
}

// rendered is a bundle and what it is made of; no data: it cannot be had now.
type rendered struct {
	data  []byte
	trust revisions
}

// holdingOf reads an object's record; damage reads as none.
func holdingOf(annotations map[string]string) holding {
	var h holding
	if json.Unmarshal([]byte(annotations[v1alpha1.HoldsAnnotation]), &h) != nil {
		return holding{}
	}
	return h
}

func holdingIn(s *corev1.Secret) holding {
	if s == nil {
		return holding{}
	}
	return holdingOf(s.Annotations)
}

// facts are the annotation for an object.
func (h holding) facts() (map[string]string, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode what a Secret holds: %w", err)
	}
	return map[string]string{v1alpha1.HoldsAnnotation: string(text)}, nil
}

// put enters a bundle of a key. Where it cannot be had now, what stood there stays.
func (h *holding) put(key string, r rendered, was holding, data map[string][]byte) {
	if h.Trust == nil {
		h.Trust = map[string]revisions{}
	}
	if r.data != nil {
		data[key], h.Trust[key] = r.data, r.trust
	} else if held, ok := was.Trust[key]; ok {
		h.Trust[key] = held
	}
}

// dated completes the record of a Secret that is about to hold data in place of what was seen. sameKey says whether
// the certificate that was there was signed by the same key. A time that lies ahead is of a clock that went wrong.
func (h holding) dated(seen *corev1.Secret, data map[string][]byte, sameKey bool, d v1alpha1.DeliverySpec, now time.Time) holding {
	was := holdingIn(seen)
	now = now.UTC().Truncate(time.Second)
	h.TrustTime, h.IssuerTime = was.TrustTime, was.IssuerTime
	for key := range h.Trust {
		if seen == nil || data[key] != nil && string(seen.Data[key]) != string(data[key]) {
			h.TrustTime = now
		}
	}
	if h.TrustTime.IsZero() || h.TrustTime.After(now) {
		h.TrustTime = now
	}
	if !sameKey || h.IssuerTime.IsZero() || h.IssuerTime.After(now) {
		h.IssuerTime = now
	}
	left := was.names()
	if seen != nil && !settled(seen, was, d, now) {
		left = append(left, was.Left...)
	}
	present := h.names()
	left = slices.DeleteFunc(left, func(name string) bool { return slices.Contains(present, name) })
	slices.Sort(left)
	h.Left = slices.Compact(left)
	return h
}

// names are the ClusterCAs that the contents depend on.
func (h holding) names() []string {
	var out []string
	for _, r := range h.Trust {
		out = slices.AppendSeq(out, maps.Keys(r))
	}
	if h.Issuer != "" {
		out = append(out, h.Issuer)
	}
	return out
}

// revision is that of a CA's bundle: the lowest, where several keys hold one. ok is false where none does.
func (h holding) revision(ca string) (lowest int64, ok bool) {
	for _, r := range h.Trust {
		if n, has := r[ca]; has && (!ok || n < lowest) {
			lowest, ok = n, true
		}
	}
	return lowest, ok
}

// acknowledgedTrust is the revision of a CA's bundle that the consumer of an object is known to use.
func (h holding) acknowledgedTrust(ca string, d v1alpha1.DeliverySpec, now time.Time) int64 {
	held, ok := h.revision(ca)
	switch {
	case !ok:
		return 0
	case d.Mode == v1alpha1.DeliveryManual:
		return min(held, statedTrust(d.Acknowledged, ca))
	case !arrived(h.TrustTime, d, now):
		return 0
	default:
		return held
	}
}

// acknowledgedLeaf is the CA generation of the certificate that the consumer of a Secret is known to use; 0 is none.
func (h holding) acknowledgedLeaf(s *corev1.Secret, d v1alpha1.DeliverySpec, now time.Time) int32 {
	in := arrived(h.IssuerTime, d, now)
	if d.Mode == v1alpha1.DeliveryManual {
		in = statedSerial(s, d.Acknowledged)
	}
	if !in {
		return 0
	}
	return h.Generation
}

// settled says whether nothing that stood in a Secret before what it holds now is in use any more.
func settled(s *corev1.Secret, h holding, d v1alpha1.DeliverySpec, now time.Time) bool {
	if d.Mode != v1alpha1.DeliveryManual {
		return arrived(h.TrustTime, d, now) && arrived(h.IssuerTime, d, now)
	}
	for _, r := range h.Trust {
		for ca, revision := range r {
			if statedTrust(d.Acknowledged, ca) < revision {
				return false
			}
		}
	}
	return h.Issuer == "" || statedSerial(s, d.Acknowledged)
}

// arrived says whether what a mounted Secret has held since a moment is in use everywhere.
func arrived(since time.Time, d v1alpha1.DeliverySpec, now time.Time) bool {
	if d.Mode != v1alpha1.DeliveryMounted || d.PropagationDelay.Duration <= 0 {
		return false // of a version that knows more, or of a schema that knows less
	}
	return !since.IsZero() && !now.Before(since.Add(d.PropagationDelay.Duration))
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

// statedSerial says whether the certificate of a Secret is the one that a person states to be in use.
func statedSerial(s *corev1.Secret, a *v1alpha1.AcknowledgedDelivery) bool {
	if s == nil || a == nil {
		return false
	}
	certs, err := pki.ParseCertificates(s.Data[corev1.TLSCertKey])
	return err == nil && strings.EqualFold(a.SerialNumber, pki.SerialOf(certs[0]))
}
