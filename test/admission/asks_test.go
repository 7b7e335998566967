package admission_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
)

// request is one of somebody's, of an object in namespace prod. None changes anything.
type request func(context.Context, client.Client) error

// creates asks for an object: its kind, and the rest of it.
func creates(kind, name, spec string) request {
	return func(ctx context.Context, c client.Client) error {
		u := object(kind, name)
		if err := yaml.Unmarshal([]byte(spec), &u.Object); err != nil {
			return err
		}
		return c.Create(ctx, u, client.DryRunAll)
	}
}

// edits asks for a change, a merge patch.
func edits(kind, name, patch string) request {
	return func(ctx context.Context, c client.Client) error {
		text, err := yaml.YAMLToJSON([]byte(patch))
		if err != nil {
			return err
		}
		return c.Patch(ctx, object(kind, name), client.RawPatch(types.MergePatchType, text), client.DryRunAll)
	}
}

func deletes(kind, name string) request {
	return func(ctx context.Context, c client.Client) error {
		return c.Delete(ctx, object(kind, name), client.DryRunAll)
	}
}

func object(kind, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	u.SetNamespace(prod)
	u.SetName(name)
	return u
}

const (
	ca, asc, nodecred, sak = v1alpha1.KindClusterCA, v1alpha1.KindAPIServerCertificate, v1alpha1.KindNodeCredential, v1alpha1.KindServiceAccountKey

	newServer = "{spec: {caRef: {name: k8s}, hostName: m2, endpoint: 'https://m2:6443'"
	kubelet   = "k8s-node1-kubelet" // of the samples
	master    = "k8s-master"
	owned     = "{metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: x}]}}"
	sha256    = "0000000000000000000000000000000000000000000000000000000000000000"
)

// serverEnds are the rights that the end of the samples' API server takes: those of its beginning.
var serverEnds = []right{
	"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s", "trust on clustercas named front-proxy", "trust on serviceaccountkeys named k8s-sa",
}

// asked are requests, and the rights that each takes beside those of writing the object.
var asked = []struct {
	name    string
	request request
	rights  []right
}{
	{"an API server", creates(asc, "m2", newServer+"}}"), []right{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s"}},
	{
		"an API server with clients of others", creates(asc, "m2", newServer+", clientCARefs: [{name: etcd}, {name: other}]}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named etcd", "trust on clustercas named other"},
	},
	{
		"an API server with a front proxy", creates(asc, "m2", newServer+", requestHeaderCARef: {name: front-proxy}}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s", "trust on clustercas named front-proxy"},
	},
	{
		"an API server with service account keys", creates(asc, "m2", newServer+", serviceAccountKeyRef: {name: k8s-sa}}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s", "trust on serviceaccountkeys named k8s-sa"},
	},
	{
		"an API server and its acknowledgment", creates(asc, "m2", newServer+", delivery: {mode: Manual, acknowledged: {serialNumber: '01'}}}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s", "acknowledge on apiservercertificates named m2"},
	},

	{
		"a server's host name, and so who gets its keys", edits(asc, master, "{spec: {hostName: m2, endpoint: 'https://m2:6443'}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on serviceaccountkeys named k8s-sa"},
	},
	{"a server's names", edits(asc, master, "{spec: {dnsNames: [a.example]}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{"a server's addresses", edits(asc, master, "{spec: {ipAddresses: [10.1.10.7]}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{"a server's endpoint", edits(asc, master, "{spec: {endpoint: 'https://centos-master:6443'}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{"a server's Secret", edits(asc, master, "{spec: {secretName: other}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{"a server's probe", edits(asc, master, "{spec: {probe: {addresses: ['10.1.10.238:6443']}}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{"how a server's arrives", edits(asc, master, "{spec: {delivery: {mode: Manual}}}"), []right{"issue on clustercas/apiserver named k8s"}},
	{
		"a server without its keys", edits(asc, master, "{spec: {serviceAccountKeyRef: null}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on serviceaccountkeys named k8s-sa"},
	},
	{
		"a server's keys, others", edits(asc, master, "{spec: {serviceAccountKeyRef: {name: other-sa}}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on serviceaccountkeys named k8s-sa", "trust on serviceaccountkeys named other-sa"},
	},
	{
		"with which keys a server was started", edits(asc, master, "{spec: {delivery: {acknowledged: {publicKeysSHA256: '"+sha256+"'}}}}"),
		[]right{"acknowledge on apiservercertificates named k8s-master"},
	},
	{
		"a server's CA, and so whose clients it accepts", edits(asc, master, "{spec: {caRef: {name: other}}}"),
		[]right{
			"issue on clustercas/apiserver named k8s", "issue on clustercas/apiserver named other",
			"trust on clustercas named k8s", "trust on clustercas named other",
		},
	},
	{
		"a server's CA alone", edits(asc, master, "{spec: {caRef: {name: other}, clientCARefs: [{name: k8s}]}}"),
		[]right{"issue on clustercas/apiserver named k8s", "issue on clustercas/apiserver named other"},
	},
	{
		"a server's clients", edits(asc, master, "{spec: {clientCARefs: [{name: k8s}, {name: other}]}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named other"},
	},
	{
		"a server's clients, none of before", edits(asc, master, "{spec: {clientCARefs: [{name: other}]}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s", "trust on clustercas named other"},
	},
	{
		"a server's front proxy", edits(asc, master, "{spec: {requestHeaderCARef: {name: other}}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named front-proxy", "trust on clustercas named other"},
	},
	{
		"a server without its front proxy", edits(asc, master, "{spec: {requestHeaderCARef: null}}"),
		[]right{"issue on clustercas/apiserver named k8s", "trust on clustercas named front-proxy"},
	},
	{"a server's end", deletes(asc, master), serverEnds},
	{"a server's owner, with which it goes", edits(asc, master, owned), serverEnds},
	{
		"what a server acknowledges", edits(asc, master, "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"),
		[]right{"acknowledge on apiservercertificates named k8s-master"},
	},
	{"that a server's certificate is renewed", edits(asc, master, "{spec: {renewal: {trigger: now}}}"), []right{"renew on apiservercertificates named k8s-master"}},
	{
		"that a server's arrival may be assumed", edits(asc, master, "{spec: {delivery: {acceptAssumed: Always}}}"),
		[]right{"acknowledge on apiservercertificates named k8s-master"},
	},
	{
		"that a server was restored", edits(asc, master, "{metadata: {annotations: {clusterpki.io/restored: 'true'}}}"),
		[]right{"issue on clustercas/apiserver named k8s"},
	},

	{
		"a credential's role", edits(nodecred, kubelet, "{spec: {role: Scheduler}}"),
		[]right{"issue on clustercas/kubelet named k8s", "issue on clustercas/scheduler named k8s"},
	},
	{
		"a credential's CA", edits(nodecred, kubelet, "{spec: {caRef: {name: etcd}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "issue on clustercas/kubelet named etcd"},
	},
	{
		"a credential's CA and role", edits(nodecred, kubelet, "{spec: {caRef: {name: etcd}, role: Admin}}"),
		[]right{"issue on clustercas/kubelet named k8s", "issue on clustercas/admin named etcd"},
	},
	{
		"a credential's CA and API server, those of another cluster",
		edits(nodecred, kubelet, "{spec: {caRef: {name: staging}, apiServerRef: {name: staging}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "issue on clustercas/kubelet named staging"},
	},
	{"a credential's end", deletes(nodecred, kubelet), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's owner, with which it goes", edits(nodecred, kubelet, owned), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's host name", edits(nodecred, kubelet, "{spec: {hostName: other}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{
		"a credential's names", edits(nodecred, "k8s-node1-kubelet-serving", "{spec: {dnsNames: [a.example]}}"),
		[]right{"issue on clustercas/kubeletserving named k8s"},
	},
	{
		"a credential's addresses", edits(nodecred, "k8s-node1-kubelet-serving", "{spec: {ipAddresses: [10.1.10.7]}}"),
		[]right{"issue on clustercas/kubeletserving named k8s"},
	},
	{
		"a credential's own identity", edits(nodecred, kubelet, "{spec: {role: Custom, custom: {commonName: jane, usages: [ClientAuth]}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "issue on clustercas/custom named k8s"},
	},
	{"where a credential's key is", edits(nodecred, kubelet, "{spec: {keySource: Host, delivery: {mode: Agent}}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{
		"a credential's request", edits(nodecred, kubelet, `{spec: {keySource: Host, request: "-----BEGIN CERTIFICATE REQUEST-----\nMIHy\n-----END CERTIFICATE REQUEST-----\n"}}`),
		[]right{"issue on clustercas/kubelet named k8s"},
	},
	{"a credential's API server", edits(nodecred, kubelet, "{spec: {apiServerRef: {name: other}}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's Secret", edits(nodecred, kubelet, "{spec: {secretName: other}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential for another program", edits(nodecred, kubelet, "{spec: {outputs: [{format: Flux, clusterName: prod}]}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's kubeconfig", edits(nodecred, kubelet, "{spec: {kubeconfig: {userName: other}}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's validity", edits(nodecred, kubelet, "{spec: {validity: 100h}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"a credential's key", edits(nodecred, kubelet, "{spec: {privateKey: {size: 384}}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{"how a credential arrives", edits(nodecred, kubelet, "{spec: {delivery: {mode: Manual}}}"), []right{"issue on clustercas/kubelet named k8s"}},
	{
		"that a credential's arrival is assumed from now on", edits(nodecred, kubelet, "{spec: {delivery: {mode: Mounted}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "acknowledge on nodecredentials named k8s-node1-kubelet"},
	},
	{
		"how a credential arrives, and that it did", edits(nodecred, kubelet, "{spec: {delivery: {mode: Manual, acknowledged: {serialNumber: '01'}}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "acknowledge on nodecredentials named k8s-node1-kubelet"},
	},
	{
		"what a credential acknowledges", edits(nodecred, kubelet, "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"),
		[]right{"acknowledge on nodecredentials named k8s-node1-kubelet"},
	},
	{"that a credential is renewed", edits(nodecred, kubelet, "{spec: {renewal: {trigger: now}}}"), []right{"renew on nodecredentials named k8s-node1-kubelet"}},
	{
		"that a credential's is renewed, with another validity", edits(nodecred, kubelet, "{spec: {validity: 100h, renewal: {trigger: now}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "renew on nodecredentials named k8s-node1-kubelet"},
	},
	{
		"that a credential's arrival may be assumed", edits(nodecred, kubelet, "{spec: {delivery: {acceptAssumed: Always}}}"),
		[]right{"acknowledge on nodecredentials named k8s-node1-kubelet"},
	},
	{
		"that a credential was restored", edits(nodecred, kubelet, "{metadata: {labels: {velero.io/restore-name: a}}}"),
		[]right{"issue on clustercas/kubelet named k8s"},
	},
	{
		"a mark of a restore, hidden by an acknowledgment",
		edits(nodecred, kubelet, "{metadata: {annotations: {clusterpki.io/restored: 'true'}}, spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"),
		[]right{"issue on clustercas/kubelet named k8s", "acknowledge on nodecredentials named k8s-node1-kubelet"},
	},

	{"a service account key", creates(sak, "new", "{spec: {}}"), []right{"issue on serviceaccountkeys named new"}},
	{
		"a service account key that is imported", creates(sak, "new", "{spec: {source: {import: {secretRef: {name: kubeadm-sa}, publicKeysSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on serviceaccountkeys named new", "get on secrets named kubeadm-sa"},
	},
	{
		"a service account key, and tokens that may end", creates(sak, "new", "{spec: {acceptTokenLoss: ['*']}}"),
		[]right{"issue on serviceaccountkeys named new", "approve on serviceaccountkeys named new"},
	},
	{
		"a service account key that is rotated when it is taken up", creates(sak, "new", "{spec: {rotation: {trigger: x}}}"),
		[]right{"issue on serviceaccountkeys named new", "rotate on serviceaccountkeys named new"},
	},
	{
		"a service account key of which tokens end soon", creates(sak, "new", "{spec: {retainOldKeyFor: 1s}}"),
		[]right{"issue on serviceaccountkeys named new", "rotate on serviceaccountkeys named new"},
	},
	{
		"a service account key that is rotated by its age", creates(sak, "new", "{spec: {rotateEvery: 8760h}}"),
		[]right{"issue on serviceaccountkeys named new", "rotate on serviceaccountkeys named new"},
	},
	{"a key's end", deletes(sak, "k8s-sa"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"a key's owner, with which it goes", edits(sak, "k8s-sa", owned), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"what becomes of a key", edits(sak, "k8s-sa", "{spec: {deletionPolicy: Delete}}"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"a key's Secret", edits(sak, "k8s-sa", "{spec: {secretName: mine}}"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"a key for another program", edits(sak, "k8s-sa", "{spec: {outputs: [{format: CAPI, clusterName: prod}]}}"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"a key's Secret's labels", edits(sak, "k8s-sa", "{spec: {secretTemplate: {labels: {a: b}}}}"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{"the next key's kind", edits(sak, "k8s-sa", "{spec: {privateKey: {size: 3072}}}"), []right{"issue on serviceaccountkeys named k8s-sa"}},
	{
		"keys of one's own", edits(sak, "k8s-sa", "{spec: {source: {import: {secretRef: {name: mine}, publicKeysSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on serviceaccountkeys named k8s-sa", "get on secrets named mine"},
	},
	{"a key's rotation", edits(sak, "k8s-sa", "{spec: {rotation: {trigger: x}}}"), []right{"rotate on serviceaccountkeys named k8s-sa"}},
	{"how often a key is rotated", edits(sak, "k8s-sa", "{spec: {rotateEvery: 10m}}"), []right{"rotate on serviceaccountkeys named k8s-sa"}},
	{"how long tokens of an old key are accepted", edits(sak, "k8s-sa", "{spec: {retainOldKeyFor: 1s}}"), []right{"rotate on serviceaccountkeys named k8s-sa"}},
	{"that tokens may end", edits(sak, "k8s-sa", "{spec: {acceptTokenLoss: [a/b]}}"), []right{"approve on serviceaccountkeys named k8s-sa"}},
	{
		"that a key was restored", edits(sak, "k8s-sa", "{metadata: {annotations: {clusterpki.io/restored: 'true'}}}"),
		[]right{"issue on serviceaccountkeys named k8s-sa"},
	},

	{"a CA", creates(ca, "new", "{spec: {}}"), []right{"issue on clustercas/ca named new"}},
	{"a CA with its key's copy", creates(ca, "new", "{spec: {secretName: new-ca}}"), []right{"issue on clustercas/ca named new"}},
	{
		"a CA that another signs", creates(ca, "new", "{spec: {source: {parent: {caRef: {name: k8s}}}}}"),
		[]right{"issue on clustercas/ca named new", "issue on clustercas/ca named k8s"},
	},
	{
		"a CA that is imported", creates(ca, "new", "{spec: {source: {import: {secretRef: {name: corporate}, certificateSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on clustercas/ca named new", "get on secrets named corporate"},
	},
	{
		"a CA, approved before it is there", creates(ca, "new", "{spec: {rotation: {approved: {withdrawal: new/age.g2}}}}"),
		[]right{"issue on clustercas/ca named new", "approve on clustercas named new"},
	},
	{
		"a CA that is rotated when it is taken up", creates(ca, "new", "{spec: {rotation: {trigger: x, emergencyTrigger: x}}}"),
		[]right{"issue on clustercas/ca named new", "rotate on clustercas named new"},
	},
	{
		"a CA that may be due for a rotation when it is taken up", creates(ca, "new", "{spec: {renewBefore: 24h}}"),
		[]right{"issue on clustercas/ca named new", "rotate on clustercas named new"},
	},
	{"a CA's end", deletes(ca, "k8s"), []right{"issue on clustercas/ca named k8s"}},
	{"what becomes of a CA's key", edits(ca, "k8s", "{spec: {deletionPolicy: Delete}}"), []right{"issue on clustercas/ca named k8s"}},
	{"a copy of a CA's key", edits(ca, "k8s", "{spec: {secretName: mine}}"), []right{"issue on clustercas/ca named k8s"}},
	{"a CA's key for another program", edits(ca, "k8s", "{spec: {outputs: [{format: CAPI, clusterName: prod}]}}"), []right{"issue on clustercas/ca named k8s"}},
	{"what a CA may sign", edits(ca, "k8s", "{spec: {policy: {roles: [Kubelet]}}}"), []right{"issue on clustercas/ca named k8s"}},
	{
		"a CA of one's own in place of it", edits(ca, "k8s", "{spec: {source: {import: {secretRef: {name: mine}, certificateSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on clustercas/ca named k8s", "get on secrets named mine", "rotate on clustercas named k8s"},
	},
	{
		"another certificate of the Secret",
		edits(ca, "imported", "{spec: {source: {import: {certificateSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on clustercas/ca named imported", "get on secrets named corporate", "rotate on clustercas named imported"},
	},
	{
		"another root in the Secret",
		edits(ca, "imported", "{spec: {source: {import: {rootSHA256: '"+sha256+"'}}}}"),
		[]right{"issue on clustercas/ca named imported", "get on secrets named corporate", "rotate on clustercas named imported"},
	},
	{
		"a parent", edits(ca, "k8s", "{spec: {source: {parent: {caRef: {name: etcd}}}}}"),
		[]right{"issue on clustercas/ca named k8s", "issue on clustercas/ca named etcd", "rotate on clustercas named k8s"},
	},
	{"a CA's name", edits(ca, "k8s", "{spec: {subject: {commonName: x}}}"), []right{"issue on clustercas/ca named k8s", "rotate on clustercas named k8s"}},
	{"a CA's validity", edits(ca, "k8s", "{spec: {validity: 8760h}}"), []right{"issue on clustercas/ca named k8s", "rotate on clustercas named k8s"}},
	{"a CA's key", edits(ca, "k8s", "{spec: {privateKey: {size: 384}}}"), []right{"issue on clustercas/ca named k8s", "rotate on clustercas named k8s"}},
	{"when a CA is due", edits(ca, "k8s", "{spec: {renewBefore: 87599h}}"), []right{"rotate on clustercas named k8s"}},
	{"a rotation", edits(ca, "k8s", "{spec: {rotation: {trigger: x}}}"), []right{"rotate on clustercas named k8s"}},
	{"an emergency", edits(ca, "k8s", "{spec: {rotation: {trigger: x, emergencyTrigger: x}}}"), []right{"rotate on clustercas named k8s"}},
	{"how it rotates", edits(ca, "k8s", "{spec: {rotation: {crossSigning: OldSignsNew, maxUnavailable: 100%}}}"), []right{"rotate on clustercas named k8s"}},
	{"a go-ahead", edits(ca, "k8s", "{spec: {rotation: {approved: {withdrawal: k8s/x.g2}}}}"), []right{"approve on clustercas named k8s"}},
	{
		"a rotation and its go-ahead", edits(ca, "k8s", "{spec: {rotation: {trigger: x, approved: {withdrawal: k8s/x.g2}}}}"),
		[]right{"rotate on clustercas named k8s", "approve on clustercas named k8s"},
	},
	{"how a copy arrives", edits(ca, "k8s", "{spec: {delivery: {mode: Manual}}}"), []right{"issue on clustercas/ca named k8s"}},
	{
		"that a copy arrived", edits(ca, "k8s", "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"),
		[]right{"acknowledge on clustercas named k8s"},
	},
	{
		"that a copy's arrival may be assumed", edits(ca, "k8s", "{spec: {delivery: {acceptAssumed: Always}}}"),
		[]right{"acknowledge on clustercas named k8s"},
	},
	{
		"an owner, with which it goes", edits(ca, "k8s", owned),
		[]right{"issue on clustercas/ca named k8s"},
	},
	{
		"that a CA was restored", edits(ca, "k8s", "{metadata: {annotations: {clusterpki.io/restored: 'true'}}}"),
		[]right{"issue on clustercas/ca named k8s"},
	},
}

// TestAsked makes each request with exactly the rights that it takes, which is allowed, and without each of them, which the policy of
// the kind denies with a message that names it.
func TestAsked(t *testing.T) {
	imported := given.CA("imported", func(o *v1alpha1.ClusterCA) {
		o.Namespace = prod
	}, given.ImportedFrom("corporate", strings.Repeat("f", 64)))
	if err := admin.Create(t.Context(), imported); err != nil {
		t.Fatal(err)
	}
	for i, a := range asked {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			asks(t, fmt.Sprint("asked-", i), a.request, a.rights)
		})
	}
}

func asks(t *testing.T, user string, r request, rights []right) {
	t.Helper()
	c := somebody(t, prod, user, rights...)
	eventually(t, "with all rights it is allowed", func() error { return r(t.Context(), c) }, allowed)
	for i, missing := range rights {
		c := somebody(t, prod, fmt.Sprint(user, "-without-", i), slices.DeleteFunc(slices.Clone(rights), func(r right) bool { return r == missing })...)
		eventually(t, "without "+string(missing)+" it is denied", func() error { return r(t.Context(), c) }, func(err error) bool {
			return slices.ContainsFunc([]string{"clustercas", "serviceaccountkeys", "apiservercertificates", "nodecredentials"}, func(resource string) bool { return denies("clusterpki-"+resource, missing)(err) })
		})
	}
}

// TestEveryRole asks for each role that the CRD knows.
func TestEveryRole(t *testing.T) {
	for _, role := range roles(t) {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			spec := fmt.Sprintf("{caRef: {name: k8s}, hostName: node9, role: %s}", role)
			if role == string(v1alpha1.RoleCustom) {
				spec = "{caRef: {name: k8s}, hostName: node9, role: Custom, custom: {commonName: jane, usages: [ClientAuth]}}"
			}
			r := right(fmt.Sprintf("issue on clustercas/%s named k8s", strings.ToLower(role)))
			asks(t, "role-"+strings.ToLower(role), creates(nodecred, "new", "{spec: "+spec+"}"), []right{r})
		})
	}
}
