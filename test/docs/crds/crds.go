// Package crds pins where custom resource definitions of other projects come from: its module requires theirs, and
// this import keeps the requirement.
package crds

import _ "github.com/cert-manager/cert-manager/pkg/apis/certmanager" // the group's name alone
