// Package ack is what an agent on a host says of one credential, in the Lease that the operator made for it: which
// bundles and which certificate it has installed, and which it has seen in use. The agent writes it, the operator reads it.
package ack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// State is what the Secrets of one object hold, or what of them a host has.
type State struct {
	// Trust is the revision of each ClusterCA's bundle, the lowest where several Secrets hold one.
	Trust map[string]int64 `json:"trust,omitempty"`
	// SerialNumber is that of the certificate, as `openssl x509 -serial` prints it.
	SerialNumber string `json:"serialNumber,omitempty"`
	// Issuer is the ClusterCA that signed the certificate, and Generation the key that did.
	Issuer     string `json:"issuer,omitempty"`
	Generation int32  `json:"generation,omitempty"`
}

// Covers says whether a host has all of what is wanted, or newer. None has nothing.
func (s *State) Covers(want State) bool {
	if s == nil || !strings.EqualFold(s.SerialNumber, want.SerialNumber) || s.Issuer != want.Issuer || s.Generation < want.Generation {
		return false
	}
	for ca, revision := range want.Trust {
		if s.Trust[ca] < revision {
			return false
		}
	}
	return true
}

// Report is what an agent says. What is absent is not so.
type Report struct {
	// Installed is what the files of the host hold.
	Installed *State `json:"installed,omitempty"`
	// Verified is what was seen to work, by a new connection, after everything that uses it had reloaded it.
	Verified *State `json:"verified,omitempty"`
	// Problem is why what is issued is not installed or not in use, for people. It holds no key and no clock.
	Problem string `json:"problem,omitempty"`
}

// MaxProblem bounds a Problem, in bytes.
const MaxProblem = 1024

// Of reads the report of a Lease; damage and absence read as none.
func Of(l *coordinationv1.Lease) Report {
	var r Report
	if l == nil || json.Unmarshal([]byte(l.Annotations[v1alpha1.ReportAnnotation]), &r) != nil {
		return Report{}
	}
	r.Problem = printable(r.Problem)
	return r
}

// Text is the report as the annotation of a Lease.
func (r Report) Text() (string, error) {
	r.Problem = printable(r.Problem)
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode the report: %w", err)
	}
	return string(text), nil
}

// printable is one line of a text, cut to MaxProblem, without what a terminal would obey.
func printable(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > MaxProblem {
		text = strings.ToValidUTF8(text[:MaxProblem-3], "") + "..."
	}
	return text
}

// AliveUntil is when an agent counts as silent unless it renews its Lease before; zero where it never has. A renewal
// that lies further ahead than the Lease is long is of a clock that is wrong, and counts as none. So does one from before
// the Lease was created: a restore brought it back, and nobody has spoken since.
func AliveUntil(l *coordinationv1.Lease, now time.Time) time.Time {
	if l == nil || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return time.Time{}
	}
	length := time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	if l.Spec.RenewTime.After(now.Add(length)) || l.Spec.RenewTime.Time.Before(l.CreationTimestamp.Time) {
		return time.Time{}
	}
	return l.Spec.RenewTime.Add(length)
}

// Contents says what Secrets of one object hold, from what the operator noted on them. tls is the one with the
// certificate.
func Contents(tls *corev1.Secret, others ...*corev1.Secret) (State, error) {
	certs, err := pki.ParseCertificates(tls.Data[corev1.TLSCertKey])
	if err != nil {
		return State{}, fmt.Errorf("in Secret %q: %w", tls.Name, err)
	}
	s := State{SerialNumber: pki.SerialOf(certs[0]), Trust: map[string]int64{}}
	for i, secret := range append([]*corev1.Secret{tls}, others...) {
		var holds struct {
			Trust      map[string]map[string]int64 `json:"trust"`
			Issuer     string                      `json:"issuer"`
			Generation int32                       `json:"generation"`
		}
		if err := json.Unmarshal([]byte(secret.Annotations[v1alpha1.HoldsAnnotation]), &holds); err != nil {
			return State{}, fmt.Errorf("in Secret %q: annotation %s: %w", secret.Name, v1alpha1.HoldsAnnotation, err)
		}
		for _, bundle := range holds.Trust {
			for ca, revision := range bundle {
				if lowest, ok := s.Trust[ca]; !ok || revision < lowest {
					s.Trust[ca] = revision
				}
			}
		}
		if i == 0 {
			s.Issuer, s.Generation = holds.Issuer, holds.Generation
		} else if holds.Issuer != s.Issuer || holds.Generation < s.Generation {
			s.Issuer, s.Generation = holds.Issuer, min(holds.Generation, s.Generation)
		}
	}
	return s, nil
}
