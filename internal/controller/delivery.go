package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
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
func (h holding) dated(seen *corev1.Secret, data map[string][]byte, sameKey bool, a answer) holding {
	was := holdingIn(seen)
	now := a.now.UTC().Truncate(time.Second)
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
	if seen != nil && !a.settled(kept{seen, was}) {
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
