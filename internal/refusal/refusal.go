// Package refusal tells writes that the API server refuses for good from those that are worth trying again soon.
package refusal

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WayOut is what a person can do about a write that will be refused for as long as nobody does; "" for any other error. The
// API server says in words alone which of its plugins has refused.
func WayOut(err error) string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return ""
	}
	s := status.Status()
	switch {
	case denied(s):
		return "change the policy or webhook that it names, or exempt what bears the label clusterpki.io/managed"
	case apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse): // of a proxy: no API server has said that
		return ""
	case s.Code == http.StatusRequestEntityTooLarge:
		return "make it smaller: the message says by what it is limited"
	case s.Reason == metav1.StatusReasonInvalid:
		return "change what it names; what cannot be changed has to be deleted, and is made again"
	case s.Reason != metav1.StatusReasonForbidden || passes(s) || unauthorized(s):
		return ""
	case strings.Contains(s.Message, "exceeded quota: "):
		return "raise the ResourceQuota that it names, or delete what uses it up"
	default:
		return "change what forbids it"
	}
}

// denied says whether an admission policy or a webhook has answered, and that answer is no. One that does not answer is no denial.
func denied(s metav1.Status) bool {
	policy := strings.Contains(s.Message, "ValidatingAdmissionPolicy '") && strings.Contains(s.Message, "' denied request: ")
	webhook := strings.Contains(s.Message, "admission webhook ") && strings.Contains(s.Message, " denied the request")
	return policy || webhook
}

// passes says whether what forbids a write goes by itself: the namespace is going, or a controller or cache of the API server is not up to date.
func passes(s metav1.Status) bool {
	going := s.Details != nil && slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Type == corev1.NamespaceTerminatingCause })
	return going || strings.Contains(s.Message, "status unknown for quota: ") || strings.Contains(s.Message, "not yet ready to handle request")
}

// unauthorized says whether the operator lacks a right. That is of the installation, and no fault of the object: rights come with its
// manifests, and an API server that has just started does not know them yet.
func unauthorized(s metav1.Status) bool {
	return strings.Contains(s.Message, "User \"") && strings.Contains(s.Message, "\" cannot ")
}
