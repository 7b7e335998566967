package cli

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestRights: what is said of a right that is missing names a role that has it, and sends nobody to the authority namespace for Secrets.
func TestRights(t *testing.T) {
	const home = "clusterpki-authority"
	for name, tc := range map[string]struct{ refused, want string }{
		"a delivery key":     {`cannot get resource "configmaps" in API group "" in the namespace "` + home + `"`, "a Role there with get on this ConfigMap and nothing else"},
		"keys":               {`cannot list resource "secrets" in API group "" in the namespace "` + home + `"`, "have whoever administers the operator run this"},
		"a change of keys":   {`cannot update resource "secrets" in API group "" in the namespace "` + home + `"`, "have whoever administers the operator run this"},
		"the operator's own": {`cannot patch resource "configmaps" in API group "" in the namespace "clusterpki-system"`, "have whoever administers the operator run this"},
		"trust":              {`cannot get resource "configmaps" in API group "" in the namespace "prod"`, "ask for the ClusterRole view in that namespace"},
		"Secrets":            {`cannot list resource "secrets" in API group "" in the namespace "prod"`, "list on secrets, as the ClusterRole edit has it"},
		"Leases":             {`cannot list resource "leases" in API group "coordination.k8s.io" in the namespace "prod"`, "list on leases, as the ClusterRole edit has it"},
		"a Secret":           {`cannot get resource "secrets" in API group "" in the namespace "prod"`, "a Role that names this one"},
		"everywhere":         {`cannot list resource "clustercas" in API group "clusterpki.io" at the cluster scope`, "by a ClusterRoleBinding"},
		"a node":             {`cannot patch resource "nodecredentials" in API group "clusterpki.io" in the namespace "prod"`, "ask for the ClusterRole clusterpki-node-operator"},
		"a CA":               {`cannot patch resource "clustercas" in API group "clusterpki.io" in the namespace "prod"`, "ask for the ClusterRole clusterpki-pki-admin"},
		"a server":           {`cannot patch resource "apiservercertificates" in API group "clusterpki.io" in the namespace "prod"`, "ask for the ClusterRole clusterpki-pki-admin"},
		"in other words":     {"no", "ask whoever administers the cluster"},
	} {
		err := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "name", errors.New(`User "u" `+tc.refused))
		if got := adviceFor(err, home); !strings.Contains(got, tc.want) || (strings.Contains(tc.refused, home) || strings.Contains(tc.refused, "system")) && strings.Contains(got, "ClusterRole") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
