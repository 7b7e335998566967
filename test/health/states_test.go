package health_test

import (
	"strings"
	"testing"
	"time"

	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

var kinds = []string{"APIServerCertificate", "ClusterCA", "ClusterPKI", "NodeCredential", "ServiceAccountKey"}

// What tools make of a state: kstatus' words, and Argo CD's.
const (
	current, inProgress, failed    = "Current", "InProgress", "Failed"
	healthy, progressing, degraded = "Healthy", "Progressing", "Degraded"
	suspended                      = "Suspended"
)

// state is one way in which an object stands, how it comes to it, and what tools should make of it.
type state struct {
	kind, name string // of the object, and of its test data
	manifest   string
	then       string        // a merge patch, once the object is Ready
	later      time.Duration // by how much the operator's clock then goes on
	drifts     bool          // the clock goes on all the time, a minute at each look
	says       string        // what the agent of the object's host then reports as its problem
	away       bool          // whether the operator is stopped before the patch, or never started where there is none
	condition  string        // that the object has in the end: type, status and reason, or 'attention <reason>'; "": none is waited for

	argo, kstatus, flux string
}

const (
	aCA = `
kind: ClusterCA
metadata: {name: k8s}
spec: {validity: 87600h}
`
	aServer = `
kind: APIServerCertificate
metadata: {name: k8s-master}
spec: {caRef: {name: k8s}, hostName: k8s-master, endpoint: "https://k8s-master:6443", validity: 8760h}
`
	aCredential = `
kind: NodeCredential
metadata: {name: node1}
spec: {caRef: {name: k8s}, apiServerRef: {name: k8s-master}, hostName: k8s-node1, role: Kubelet, kubeconfig: {}, validity: 8760h}
`
	byAgent = `
kind: NodeCredential
metadata: {name: node1}
spec: {caRef: {name: k8s}, apiServerRef: {name: k8s-master}, hostName: k8s-node1, role: Kubelet, kubeconfig: {}, delivery: {mode: Agent}}
`
	mounted = `
kind: NodeCredential
metadata: {name: node3}
spec: {caRef: {name: k8s}, hostName: k8s-node3, role: Kubelet}
`
	// byHand is never acknowledged.
	byHand = `
kind: NodeCredential
metadata: {name: node2}
spec: {caRef: {name: k8s}, hostName: k8s-node2, role: Kubelet, delivery: {mode: Manual}}
`
	aKey = `
kind: ServiceAccountKey
metadata: {name: k8s-sa}
spec: {retainOldKeyFor: 1h}
`
	// acceptedKey is one whose arrival is assumed, and that lists no tokens.
	acceptedKey = `
kind: APIServerCertificate
metadata: {name: k8s-master}
spec: {caRef: {name: k8s}, hostName: k8s-master, endpoint: "https://k8s-master:6443", serviceAccountKeyRef: {name: k8s-sa}, delivery: {acceptAssumed: Always}}
`
	noKeys = `
kind: ServiceAccountKey
metadata: {name: k8s-sa}
spec: {source: {import: {secretRef: {name: kubeadm-sa}, publicKeysSHA256: 0f3b5d7a9c1e2f4860718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7}}}
`
	noImport = `
kind: ClusterCA
metadata: {name: k8s}
spec: {source: {import: {secretRef: {name: corporate-root}, certificateSHA256: 0f3b5d7a9c1e2f4860718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7}}}
`
	aCluster = `
kind: ClusterPKI
metadata: {name: k8s}
spec:
  endpoint: https://k8s-master:6443
  serviceCIDRs: [10.96.0.0/12]
  certificates: {delivery: {mode: Mounted}}
  controlPlane: {kubelet: false, etcd: {mode: None}, hosts: [{name: k8s-master}]}
  nodes: {roles: [Kubelet], hosts: [{name: node1}, {name: node2}, {name: node3}]}
`
	sep        = "---"
	newCA      = `{"spec":{"validity":"43800h"}}`
	newKey     = `{"spec":{"rotation":{"trigger":"1"}}}`
	newLeaf    = `{"spec":{"validity":"4380h"}}`
	year       = 8760 * time.Hour
	serverKey  = "\nkind: Secret\napiVersion: v1\nmetadata: {name: k8s-master-tls}\n"
	accountKey = "\nkind: Secret\napiVersion: v1\nmetadata: {name: k8s-sa}\n"
	kubeletKey = "\nkind: Secret\napiVersion: v1\nmetadata: {name: node1-tls}\n"
)

var states = []state{
	{
		kind: "ClusterPKI", name: "progressing_new", manifest: aCluster, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ClusterPKI", name: "healthy_issued", manifest: aCluster, condition: "Ready True Issued",
		argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "ClusterPKI", name: "progressing_edited", manifest: aCluster, then: `{"spec":{"clusterDomain":"prod.example"}}`, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ClusterPKI", name: "suspended_removalPending", manifest: aCluster, then: `{"spec":{"nodes":{"hosts":[]}}}`,
		condition: "RemovalPending True ConfirmationRequired", argo: suspended, kstatus: current, flux: current,
	},
	{
		kind: "ClusterPKI", name: "suspended_withdrawalPending", manifest: aCluster, then: newKey, drifts: true,
		condition: "attention WithdrawalPending", argo: suspended, kstatus: current, flux: current,
	},
	{
		kind: "ClusterPKI", name: "degraded_childConflict", manifest: strings.Replace(aCA, "{name: k8s}", "{name: k8s-ca}", 1) + sep + aCluster,
		condition: "Stalled True ChildConflict", argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "ClusterCA", name: "progressing_new", manifest: aCA, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ClusterCA", name: "healthy_issued", manifest: aCA, condition: "Ready True Issued",
		argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "ClusterCA", name: "progressing_edited", manifest: aCA, then: newCA, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ClusterCA", name: "progressing_rotating", manifest: aCA + sep + byHand, then: newCA, condition: "Rotating True DistributingTrust",
		argo: progressing, kstatus: current, flux: inProgress,
	},
	{
		kind: "ClusterCA", name: "degraded_rotationBlocked", manifest: aCA + sep + byHand, then: newCA, later: 73 * time.Hour,
		condition: "RotationBlocked True DistributingTrust", argo: degraded, kstatus: current, flux: failed,
	},
	{
		kind: "ClusterCA", name: "suspended_withdrawalPending", manifest: aCA + sep + mounted, then: newCA, drifts: true,
		condition: "WithdrawalPending True Assumed", argo: suspended, kstatus: current, flux: current,
	},
	{
		kind: "ClusterCA", name: "degraded_emergency", manifest: aCA + sep + byHand,
		then: `{"spec":{"rotation":{"trigger":"1","emergencyTrigger":"1"}}}`, condition: "RedeliveryRequired True Emergency",
		argo: degraded, kstatus: current, flux: failed,
	},
	{
		kind: "ClusterCA", name: "degraded_expired", manifest: aCA + sep + byHand, later: 11 * year, condition: "Ready False NotUsable",
		argo: degraded, kstatus: inProgress, flux: failed,
	},
	{
		kind: "ClusterCA", name: "degraded_importMissing", manifest: noImport, condition: "Stalled True ImportInvalid",
		argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "APIServerCertificate", name: "progressing_new", manifest: aServer, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "APIServerCertificate", name: "progressing_noCA", manifest: aServer, condition: "Ready False IssuerNotFound",
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "APIServerCertificate", name: "healthy_issued", manifest: aCA + sep + aServer, condition: "Ready True Issued",
		argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "APIServerCertificate", name: "progressing_edited", manifest: aCA + sep + aServer, then: newLeaf, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "APIServerCertificate", name: "degraded_secretTaken", manifest: serverKey + sep + aCA + sep + aServer,
		condition: "Stalled True SecretConflict", argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "NodeCredential", name: "progressing_new", manifest: aCredential, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "NodeCredential", name: "progressing_noCA", manifest: aCredential, condition: "Ready False IssuerNotFound",
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "NodeCredential", name: "healthy_issued", manifest: aCA + sep + aServer + sep + aCredential, condition: "Ready True Issued",
		argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "NodeCredential", name: "progressing_edited", manifest: aCA + sep + aServer + sep + aCredential, then: newLeaf, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "NodeCredential", name: "degraded_secretTaken", manifest: kubeletKey + sep + aCA + sep + aServer + sep + aCredential,
		condition: "Stalled True SecretConflict", argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "NodeCredential", name: "healthy_agentNotStarted", manifest: aCA + sep + aServer + sep + byAgent,
		condition: "TrustAcknowledged False AgentNotStarted", argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "NodeCredential", name: "degraded_agentProblem", manifest: aCA + sep + aServer + sep + byAgent,
		says: "write /etc/kubernetes/pki: no space left on device", condition: "TrustAcknowledged False AgentProblem",
		argo: degraded, kstatus: current, flux: current,
	},
	{
		kind: "ServiceAccountKey", name: "progressing_new", manifest: aKey, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ServiceAccountKey", name: "healthy_issued", manifest: aKey, condition: "Ready True Issued",
		argo: healthy, kstatus: current, flux: current,
	},
	{
		kind: "ServiceAccountKey", name: "progressing_edited", manifest: aKey, then: newKey, away: true,
		argo: progressing, kstatus: inProgress, flux: inProgress,
	},
	{
		kind: "ServiceAccountKey", name: "progressing_rotating", manifest: aCA + sep + aKey + sep + acceptedKey, then: newKey, drifts: true,
		condition: "Rotating True DistributingTrust", argo: progressing, kstatus: current, flux: inProgress,
	},
	{
		kind: "ServiceAccountKey", name: "degraded_secretTaken", manifest: accountKey + sep + aKey,
		condition: "Stalled True SecretConflict", argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "ServiceAccountKey", name: "degraded_importMissing", manifest: noKeys, condition: "Stalled True ImportInvalid",
		argo: degraded, kstatus: failed, flux: failed,
	},
	{
		kind: "ServiceAccountKey", name: "healthy_keyRemovalDue", manifest: aCA + sep + aKey + sep + acceptedKey, then: newKey, drifts: true,
		condition: "KeyRemovalDue True KeyRetained", argo: healthy, kstatus: current, flux: current,
	},
}

// TestStates brings a real object into each state and asks the tools' own libraries about it.
func TestStates(t *testing.T) {
	evaluators := expressions(t)
	tests := map[string]*healthTest{}
	for _, s := range states {
		t.Run(s.kind+"/"+s.name, func(t *testing.T) {
			u := reach(t, s)
			argo := assess(t, s.kind, u.Object)
			if argo.Status != s.argo {
				t.Errorf("Argo CD's script says %+v instead of %s", argo, s.argo)
			}
			upstream, err := status.Compute(u)
			if err != nil || string(upstream.Status) != s.kstatus {
				t.Errorf("kstatus says %v instead of %s: %v", upstream, s.kstatus, err)
			}
			flux, err := fluxstatus.Compute(u)
			if err != nil || string(flux.Status) != s.kstatus {
				t.Errorf("Flux' kstatus says %v instead of %s: %v", flux, s.kstatus, err)
			}
			if got := byFlux(t, evaluators, u, s.kstatus); got != s.flux {
				t.Errorf("Flux' expressions say %s instead of %s", got, s.flux)
			}
			if t.Failed() {
				t.Logf("the object: %v", u.Object)
			}
			if *update {
				record(t, s, u)
				if tests[s.kind] == nil {
					tests[s.kind] = &healthTest{}
				}
				input := "testdata/" + s.name + ".yaml"
				tests[s.kind].Tests = append(tests[s.kind].Tests, healthCase{healthStatus{s.argo, argo.Message}, input})
			}
		})
	}
	for kind, test := range tests {
		text, err := yaml.Marshal(test)
		if err != nil {
			t.Fatal(err)
		}
		write(t, argocd("clusterpki.io", kind, "health_test.yaml"), string(text))
	}
}

// record writes an object as test data, as kubectl would show it.
func record(t *testing.T, s state, u *unstructured.Unstructured) {
	t.Helper()
	u = u.DeepCopy()
	u.SetManagedFields(nil)
	u.SetNamespace("prod")
	text, err := yaml.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	write(t, argocd("clusterpki.io", s.kind, "testdata", s.name+".yaml"), string(text))
}
