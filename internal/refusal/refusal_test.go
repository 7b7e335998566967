package refusal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"clusterpki.io/operator/internal/refusal"
)

var (
	secrets = schema.GroupResource{Resource: "secrets"}
	kind    = schema.GroupKind{Kind: "Secret"}
)

// forbidden is what an admission plugin, or the authorizer, answers.
func forbidden(text string, mods ...func(*metav1.Status)) error {
	err := apierrors.NewForbidden(secrets, "node1-tls", errors.New(text))
	for _, mod := range mods {
		mod(&err.ErrStatus)
	}
	return err
}

func as(reason metav1.StatusReason, code int32) func(*metav1.Status) {
	return func(s *metav1.Status) { s.Reason, s.Code = reason, code }
}

// TestWayOut: the texts are those of kube-apiserver 1.37, whose tests here are TestRefusedWrites.
func TestWayOut(t *testing.T) {
	const policy = "ValidatingAdmissionPolicy 'fridays' with binding 'fridays' denied request: no Secrets on Fridays"
	terminating := func(s *metav1.Status) {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	}
	immutable := apierrors.NewInvalid(kind, "node1-tls", field.ErrorList{field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")})
	for name, tc := range map[string]struct {
		err error
		way string // what of it says enough; "": none
	}{
		"a quota":                        {forbidden("exceeded quota: none, requested: count/secrets=1, used: count/secrets=0, limited: count/secrets=0"), "raise the ResourceQuota"},
		"a quota that is not counted":    {forbidden("status unknown for quota: none, resources: count/secrets"), ""},
		"a policy":                       {forbidden(policy, as(metav1.StatusReasonInvalid, 422)), "change the policy"},
		"a policy, as unauthorized":      {forbidden(policy, as(metav1.StatusReasonUnauthorized, 401)), "change the policy"},
		"a policy, as too large":         {forbidden(policy, as(metav1.StatusReasonRequestEntityTooLarge, 413)), "change the policy"},
		"a webhook":                      {&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: 403, Message: `admission webhook "v.example.org" denied the request: no`}}, "change the policy or webhook"},
		"a webhook with its own code":    {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 418, Message: `admission webhook "v.example.org" denied the request: no`}}, "change the policy or webhook"},
		"a webhook that is down":         {apierrors.NewInternalError(errors.New(`failed calling webhook "v.example.org": failed to call webhook: connection refused`)), ""},
		"an immutable Secret":            {immutable, "has to be deleted"},
		"too large":                      {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), "make it smaller"},
		"another plugin":                 {forbidden("unable to do that here"), "change what forbids it"},
		"no right":                       {forbidden(`User "system:serviceaccount:clusterpki-system:clusterpki" cannot patch resource "secrets" in API group "" in the namespace "prod"`), ""},
		"the namespace is going":         {forbidden("unable to create new content in namespace prod because it is being terminated", terminating), ""},
		"a plugin that has just started": {forbidden("not yet ready to handle request"), ""},
		"a proxy":                        {apierrors.NewGenericServerResponse(403, "patch", secrets, "node1-tls", "injected", 0, true), ""},
		"a conflict":                     {apierrors.NewConflict(secrets, "node1-tls", errors.New("changed")), ""},
		"it is there":                    {apierrors.NewAlreadyExists(secrets, "node1-tls"), ""},
		"too many requests":              {apierrors.NewTooManyRequests("later", 1), ""},
		"a timeout":                      {apierrors.NewTimeoutError("late", 1), ""},
		"no API server":                  {errors.New("connection refused"), ""},
		"nothing":                        {nil, ""},
	} {
		for how, err := range map[string]error{"": tc.err, ", wrapped": fmt.Errorf("update Secret: %w", tc.err), ", joined": errors.Join(errors.New("also"), tc.err)} {
			if tc.err == nil && how != "" {
				continue
			}
			if way := refusal.WayOut(err); (way == "") != (tc.way == "") || !strings.Contains(way, tc.way) {
				t.Errorf("%s%s: %q", name, how, way)
			}
		}
	}
}
