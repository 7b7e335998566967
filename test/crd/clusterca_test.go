package crd

import (
	"fmt"
	"strings"
	"testing"
)

const validCA = `
apiVersion: clusterpki.io/v1alpha1
kind: ClusterCA
metadata: {name: k8s, namespace: prod}
`

const validityRange = "must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m'"

// digest is one of a certificate.
const digest = "0f3b5d7a9c1e2f4860718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"

// fingerprint is one as openssl prints it.
var fingerprint = "sha256 Fingerprint=" + strings.Repeat("AB:", 31) + "CD"

// imported lets a CA be imported from a Secret; sha256 is "" where the object does not say of which certificate.
func imported(secret, sha256 string) []edit {
	edits := set("spec.source.import.secretRef.name", secret)
	if sha256 != "" {
		edits = append(edits, edit{"spec.source.import.certificateSHA256", sha256})
	}
	return edits
}

func TestClusterCA(t *testing.T) {
	k := load(t, "clustercas")
	runCases(t, k, validCA, map[string]testCase{
		"no spec at all":     {},
		"empty spec":         accepted("spec", map[string]any{}),
		"empty lists":        accepted("spec.subject.organizations", []any{}),
		"any common name":    accepted("spec.subject.commonName", "Prod CA, Zürich"),
		"as GitOps tools do": {edits: []edit{{"spec.subject", map[string]any{}}, {"spec.validity", "87600h0m0s"}}},

		"outputs":                           accepted("spec.outputs", []any{output("CAPI", "prod"), output("Kamaji", "tenant")}),
		"an output of etcd's CA":            accepted("spec.outputs", []any{map[string]any{"format": "CAPI", "clusterName": "prod", "purpose": "Etcd"}}),
		"an output of etcd's CA for Kamaji": {edits: set("spec.outputs", []any{map[string]any{"format": "Kamaji", "clusterName": "t", "purpose": "Etcd"}}), want: "spec.outputs[0].purpose: purpose 'Etcd' is not for format 'Kamaji'"},
		"an output of no CA":                {edits: set("spec.outputs", []any{map[string]any{"format": "CAPI", "clusterName": "prod", "purpose": "Kubelet"}}), want: `spec.outputs[0].purpose: supported values: "Cluster", "Etcd", "FrontProxy"`},
		"an output for Flux":                {edits: set("spec.outputs", []any{output("Flux", "prod")}), want: `spec.outputs[0].format: supported values: "CAPI", "Kamaji"`},
		"reserved common name":              refused("spec.subject.commonName", "system:ca", "must not begin with 'system:'"),
		"reserved group":                    refusedItem("spec.subject.organizations", "must not begin with 'system:'", "system:masters"),
		"a parent that cannot be": {edits: set("spec.source", map[string]any{"parent": map[string]any{"caRef": map[string]any{"name": "x "}}}),
			want: "spec.source.parent.caRef.name: must be a valid name of an object"},
		"an import that cannot be": {edits: imported("x\n", digest), want: "spec.source.import.secretRef.name: must be a valid name of an object"},
		"empty common name":        refused("spec.subject.commonName", "", "spec.subject.commonName in body should be at least 1 chars long"),
		"long common name":         refused("spec.subject.commonName", strings.Repeat("x", 55), "may not be more than 54 bytes"),
		"many bytes":               refused("spec.subject.commonName", strings.Repeat("é", 30), "must be at most 54 bytes long"),
		"long name": {
			edits: set("metadata.name", strings.Repeat("x", 55)),
			want:  "spec.subject.commonName: metadata.name is longer than 54 characters and cannot be the CA's common name: set spec.subject.commonName",
		},
		"long name, common name set": {edits: []edit{
			{"metadata.name", strings.Repeat("x", 63)}, {"spec.subject.commonName", "k8s-ca"},
		}},
		"very long name": {
			edits: []edit{{"metadata.name", strings.Repeat("x", 64)}, {"spec.subject.commonName", "k8s-ca"}},
			want:  "metadata: metadata.name must be 63 characters or fewer",
		},
		"imported": {edits: imported("corporate", digest)},
		"an import of anything": {
			edits: imported("corporate", ""), want: "spec.source.import.certificateSHA256: must be set, so that this object decides which CA is imported",
		},
		"imported, by half a digest": {edits: imported("corporate", digest[:32]), want: "spec.source.import.certificateSHA256: must be 64 lower-case hexadecimal digits"},
		"imported, by a digest of capitals": {
			edits: imported("corporate", strings.ToUpper(digest)), want: "spec.source.import.certificateSHA256: must be 64 lower-case hexadecimal digits",
		},
		"imported, as -fingerprint prints it": {
			edits: imported("corporate", fingerprint), want: "spec.source.import.certificateSHA256: must be 64 lower-case hexadecimal digits without colons",
		},
		"imported, the root as -fingerprint prints it": {
			edits: append(imported("corporate", digest), edit{"spec.source.import.rootSHA256", fingerprint}),
			want:  "spec.source.import.rootSHA256: must be 64 lower-case hexadecimal digits without colons",
		},
		"its own parent": {
			edits: set("spec.source.parent.caRef.name", "k8s"), want: "spec.source.parent.caRef.name: a ClusterCA cannot be its own parent CA",
		},
		"below another one":     {edits: set("spec.source.parent.caRef.name", "root")},
		"imported below a root": {edits: append(imported("corporate", digest), edit{"spec.source.import.rootSHA256", digest})},
		"imported below half a root": {
			edits: append(imported("corporate", digest), edit{"spec.source.import.rootSHA256", digest[:32]}),
			want:  "spec.source.import.rootSHA256: must be 64 lower-case hexadecimal digits",
		},
		"a root alone": {
			edits: append(imported("corporate", ""), edit{"spec.source.import.rootSHA256", digest}), want: "spec.source.import.certificateSHA256: must be set",
		},
		"a copy into the Secret of the import": {
			edits: append(imported("corporate", digest), edit{"spec.secretName", "corporate"}), want: "spec.secretName: must differ from source.import.secretRef.name",
		},
		"a copy into another one": {edits: append(imported("corporate", digest), edit{"spec.secretName", "k8s-ca"})},
		"intermediate":            accepted("spec.source", map[string]any{"parent": map[string]any{"caRef": map[string]any{"name": "root"}}}),
		"self-signed, as if said": accepted("spec.source", map[string]any{"selfSigned": map[string]any{}}),
		"two sources": refused("spec.source", map[string]any{
			"selfSigned": map[string]any{}, "parent": map[string]any{"caRef": map[string]any{"name": "root"}},
		}, "exactly one of selfSigned, import and parent must be set"),
		"no source": refused("spec.source", map[string]any{}, "exactly one of selfSigned, import and parent must be set"),

		"all at once":       accepted("spec.rotation.maxUnavailable", "100%"),
		"one at a time":     accepted("spec.rotation.maxUnavailable", int64(1)),
		"none at a time":    refused("spec.rotation.maxUnavailable", int64(0), "must be a number from 1, or a percentage"),
		"none, in per cent": refused("spec.rotation.maxUnavailable", "0%", "must be a number from 1, or a percentage"),
		"more than all":     refused("spec.rotation.maxUnavailable", "101%", "must be a number from 1, or a percentage"),
		"the same key":      accepted("spec.rotation.keyPolicy", "Reuse"),
		"cross-signed":      accepted("spec.rotation.crossSigning", "OldSignsNew"),
		"not cross-signed":  accepted("spec.rotation.crossSigning", "Disabled"),
		"the other way":     refused("spec.rotation.crossSigning", "NewSignsOld", `supported values: "Disabled", "OldSignsNew"`),
		"a published pair":  accepted("spec.secretName", "k8s-ca"),
		"a bad Secret name": refused("spec.secretName", "K8s_CA", "must be a valid Secret name"),
		"a compromised key": {edits: []edit{{"spec.rotation.trigger", "leaked"}, {"spec.rotation.emergencyTrigger", "leaked"}}},
		"an emergency that is over": {
			edits: []edit{{"spec.rotation.trigger", "new dates"}, {"spec.rotation.emergencyTrigger", "leaked"}, {"spec.rotation.keyPolicy", "Reuse"}},
		},
		"a compromised key, kept": {
			edits: []edit{{"spec.rotation.trigger", "leaked"}, {"spec.rotation.emergencyTrigger", "leaked"}, {"spec.rotation.keyPolicy", "Reuse"}},
			want:  "spec.rotation.keyPolicy: an emergency rotation is for a key that is compromised",
		},
		"the longest trigger":       accepted("spec.rotation.emergencyTrigger", strings.Repeat("x", 128)),
		"too long a trigger":        refused("spec.rotation.emergencyTrigger", strings.Repeat("x", 129), "may not be more than 128"),
		"an empty trigger":          refused("spec.rotation.emergencyTrigger", "", "spec.rotation.emergencyTrigger in body should be at least 1 chars long"),
		"any trigger":               accepted("spec.rotation.trigger", "утечка 2026-11"),
		"a trigger with a break":    refused("spec.rotation.trigger", "leaked\n", "must not hold control characters, nor begin or end with a blank"),
		"an emergency with a blank": refused("spec.rotation.emergencyTrigger", " leaked", "must not hold control characters, nor begin or end with a blank"),
		"an imported key, kept": {
			edits: append(imported("corporate", digest), edit{"spec.rotation.keyPolicy", "Reuse"}),
			want:  "spec.rotation.keyPolicy: only a self-signed CA can keep its key",
		},

		"carried by hand": accepted("spec.delivery.mode", "Manual"),
		"carried by an agent": refused("spec.delivery.mode", "Agent",
			"delivery.mode must be 'Mounted' or 'Manual' here: an agent carries no CA's key"),

		"unknown deletion policy": refused("spec.deletionPolicy", "Keep", `supported values: "Retain", "Delete"`),
	})
	runCases(t, k, validCA, durationCases())
	runCases(t, k, validCA, keyCases())
	runCases(t, k, validCA, textCases("spec.subject.commonName", func(name string) []edit { return set("spec.subject.commonName", name) }))
	runCases(t, k, validCA, textCases("spec.subject.organizations[0]", func(name string) []edit { return set("spec.subject.organizations", list(name)) }))
}

// TestPolicy has what may be said of what a CA may issue.
func TestPolicy(t *testing.T) {
	const reservedGroup = "must not begin with 'system:', 'kubeadm:' or 'clusterpki:', which are reserved"
	runCases(t, load(t, "clustercas"), validCA, map[string]testCase{
		"nothing": accepted("spec.policy", map[string]any{}),
		"everything": accepted("spec.policy", map[string]any{
			"roles": list("Kubelet", "APIServer", "CA"), "hosts": list("*.prod.example", "*", "k8s-*", "10.0.*.7"), "addresses": list("10.1.10.0/24", "fd00::/64"),
			"sharedHosts": list("k8s-master", "10.0.0.1"), "maxValidity": "8760h", "customGroups": list("ops:viewers", "Ops, Zürich"),
			"privateKeys": []any{map[string]any{"algorithm": "RSA", "minSize": int64(3072)}, map[string]any{"algorithm": "Ed25519"}},
		}),
		"no role":               refused("spec.policy.roles", list(), "spec.policy.roles in body should have at least 1 items"),
		"unknown role":          {edits: set("spec.policy.roles", list("Node")), want: `spec.policy.roles[0]: supported values: "Kubelet"`},
		"a host in upper case":  refusedItem("spec.policy.hosts", "must be a lower-case DNS name, in which '*'", "*.Prod"),
		"a host with a blank":   refusedItem("spec.policy.hosts", "must be a lower-case DNS name, in which '*'", "a b"),
		"an address":            refusedItem("spec.policy.addresses", "must be an IPv4 or IPv6 network", "10.1.10.7"),
		"a pattern that shares": refusedItem("spec.policy.sharedHosts", "must be the hostName of an APIServerCertificate", "*"),
		"too short a validity":  refused("spec.policy.maxValidity", "1m", "must be between 10 minutes and 100 years"),
		"an algorithm twice": {
			edits: set("spec.policy.privateKeys", []any{map[string]any{"algorithm": "RSA"}, map[string]any{"algorithm": "RSA"}}), want: "spec.policy.privateKeys[1]: ",
		},
		"a size of Ed25519": {
			edits: set("spec.policy.privateKeys", []any{map[string]any{"algorithm": "Ed25519", "minSize": int64(256)}}),
			want:  "spec.policy.privateKeys[0].minSize: minSize must be left out",
		},
		"a size of no curve": {
			edits: set("spec.policy.privateKeys", []any{map[string]any{"algorithm": "ECDSA", "minSize": int64(522)}}),
			want:  "spec.policy.privateKeys[0].minSize: minSize must be 521 or less",
		},
		"a size that nobody has": {
			edits: set("spec.policy.privateKeys", []any{map[string]any{"algorithm": "RSA", "minSize": int64(4097)}}),
			want:  "spec.policy.privateKeys[0].minSize: minSize must be 4096 or less",
		},
		"the largest": accepted("spec.policy.privateKeys", []any{
			map[string]any{"algorithm": "RSA", "minSize": int64(4096)}, map[string]any{"algorithm": "ECDSA", "minSize": int64(521)},
		}),
		"the group of admins":   refusedItem("spec.policy.customGroups", reservedGroup, "system:masters"),
		"another kubeadm group": refusedItem("spec.policy.customGroups", reservedGroup, "kubeadm:cluster-admins"),
		"a group with a break":  refusedItem("spec.policy.customGroups", "must be printable ASCII characters and Latin letters", "ops\n"),
	})
}

// textCases are those of a name that stands in a certificate.
func textCases(at string, with func(name string) []edit) map[string]testCase {
	cases := map[string]testCase{}
	for _, bad := range []string{
		"jane\n", "jane\x00x", "jane\tx", " jane", "jane ", "jane  doe", "jane\u200b", "j\u0430ne", "jane\u202edoe", "jan\u0065\u0301", "ﬁna", "ſam",
		"jane\u00a0doe", "jane\x7f", "ｊane",
	} {
		cases[fmt.Sprintf("%s %q", at, bad)] = testCase{edits: with(bad), want: at + ": must be printable ASCII characters and Latin letters such as 'é'"}
	}
	for _, good := range []string{"jane", "Jane Doe", "jane@example.org", "Zoë Müller", "Łódź", "Ops, Inc. (EMEA)", "ops:viewers"} {
		cases[fmt.Sprintf("%s %q", at, good)] = testCase{edits: with(good)}
	}
	return cases
}

// acknowledged is what a person says to be in use.
func acknowledged(mode, serial, bundle string) []edit {
	trust := []any{map[string]any{"name": "k8s", "bundleSHA256": bundle}}
	return []edit{{"spec.delivery.mode", mode}, {"spec.delivery.acknowledged", map[string]any{"serialNumber": serial, "trust": trust}}}
}

// deliveryCases are those of spec.delivery, the same in the kinds that an agent delivers.
func deliveryCases() map[string]testCase {
	const silence = "must be between 10 seconds and 168 hours, in hours, minutes and seconds, such as '15m'"
	return map[string]testCase{
		"by an agent":                    accepted("spec.delivery.mode", "Agent"),
		"by nobody":                      refused("spec.delivery.mode", "Courier", `supported values: "Mounted", "Agent", "Manual"`),
		"shortest silence":               accepted("spec.delivery.leaseDuration", "10s"),
		"longest silence":                accepted("spec.delivery.leaseDuration", "168h"),
		"silence, as Go writes it":       accepted("spec.delivery.leaseDuration", "15m0s"),
		"too short a silence":            refused("spec.delivery.leaseDuration", "9s", silence),
		"too long a silence":             refused("spec.delivery.leaseDuration", "168h1s", silence),
		"silence in days":                refused("spec.delivery.leaseDuration", "1d", silence),
		"silence that is a number":       refused("spec.delivery.leaseDuration", int64(900), "spec.delivery.leaseDuration in body must be of type string"),
		"acknowledged by hand":           {edits: acknowledged("Manual", "0A5F", digest)},
		"a serial number with colons":    {edits: acknowledged("Manual", "5B:F8", digest), want: "spec.delivery.acknowledged.serialNumber: must be hexadecimal digits"},
		"a serial number and its label":  {edits: acknowledged("Manual", "serial=5BF8", digest), want: "spec.delivery.acknowledged.serialNumber: must be hexadecimal digits"},
		"a serial number in lower case":  {edits: acknowledged("Manual", "5bf8", digest), want: "spec.delivery.acknowledged.serialNumber: must be hexadecimal digits"},
		"half a byte":                    {edits: acknowledged("Manual", "5BF", digest), want: "spec.delivery.acknowledged.serialNumber: must be hexadecimal digits"},
		"a bundle as -fingerprint does":  {edits: acknowledged("Manual", "0A5F", fingerprint), want: "spec.delivery.acknowledged.trust[0].bundleSHA256: must be 64 lower-case hexadecimal digits without colons"},
		"assumed, and mounted":           accepted("spec.delivery.acceptAssumed", "Always"),
		"silence of another mode's spec": {edits: []edit{{"spec.delivery.mode", "Manual"}, {"spec.delivery.leaseDuration", "15m"}}},
	}
}

// durationCases are those of spec.validity and spec.renewBefore, the same in all kinds.
func durationCases() map[string]testCase {
	cases := map[string]testCase{
		"shortest": accepted("spec.validity", "10m"),
		"longest":  accepted("spec.validity", "876000h"),
		"mixed":    accepted("spec.validity", "1h30m"),
		"seconds":  accepted("spec.validity", "31536000s"),
		"fraction": accepted("spec.validity", "1.5h"),
		"as Go writes it, renewed before the end": {edits: []edit{
			{"spec.validity", "8760h0m0s"}, {"spec.renewBefore", "2920h0m0s"},
		}},
		"renewBefore equal to validity": {
			edits: []edit{{"spec.validity", "24h"}, {"spec.renewBefore", "1440m"}},
			want:  "spec.renewBefore: renewBefore must be shorter than validity",
		},
		"renewBefore longer than validity": {
			edits: []edit{{"spec.validity", "24h"}, {"spec.renewBefore", "25h"}},
			want:  "spec.renewBefore: renewBefore must be shorter than validity",
		},
		"renewBefore zero": refused("spec.renewBefore", "0s", "must be between 1 minute and 100 years"),
		"a number":         refused("spec.validity", int64(8760), "spec.validity in body must be of type string"),
	}
	for _, bad := range []string{
		"0s", "0h", "-1h", "9m59s", "876000h1s", "876001h", "10y", "365d", "1 year", "8760", "1h-1m", "h", "1h1h", "10m10h",
		"99999999999999h", "9223372036854775807h", "P1Y", "5000000000000ns",
	} {
		cases["validity "+bad] = refused("spec.validity", bad, validityRange)
	}
	return cases
}

// keyCases are those of spec.privateKey, the same in all kinds.
func keyCases() map[string]testCase {
	key := func(algorithm string, size int64) []edit {
		if size == 0 {
			return set("spec.privateKey", map[string]any{"algorithm": algorithm})
		}
		return set("spec.privateKey", map[string]any{"algorithm": algorithm, "size": size})
	}
	const (
		rsa     = "spec.privateKey.size: size must be 2048, 3072 or 4096 for algorithm 'RSA'"
		ecdsa   = "spec.privateKey.size: size must be 256, 384 or 521 (the NIST curves P-256, P-384, P-521) for algorithm 'ECDSA'"
		ed25519 = "spec.privateKey.size: size must be left out for algorithm 'Ed25519'"
	)
	return map[string]testCase{
		"RSA 2048": {edits: key("RSA", 2048)}, "RSA 3072": {edits: key("RSA", 3072)}, "RSA 4096": {edits: key("RSA", 4096)},
		"ECDSA 256": {edits: key("ECDSA", 256)}, "ECDSA 384": {edits: key("ECDSA", 384)}, "ECDSA 521": {edits: key("ECDSA", 521)},
		"Ed25519": {edits: key("Ed25519", 0)},

		"RSA 1024":     {edits: key("RSA", 1024), want: rsa},
		"RSA, no size": {edits: key("RSA", 0), want: rsa},
		"ECDSA 224":    {edits: key("ECDSA", 224), want: ecdsa},
		"ECDSA 512":    {edits: key("ECDSA", 512), want: ecdsa},
		"ECDSA 2048":   {edits: key("ECDSA", 2048), want: ecdsa},
		"Ed25519 256":  {edits: key("Ed25519", 256), want: ed25519},
		"DSA":          {edits: key("DSA", 0), want: `spec.privateKey.algorithm: supported values: "RSA", "ECDSA", "Ed25519"`},
	}
}
