package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

func agentServer(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent }

func ofHost(name string) func(*v1alpha1.NodeCredential) {
	return func(c *v1alpha1.NodeCredential) { c.Spec.HostName = name }
}

// agentsNamespace is where the ServiceAccounts of the test's agents stand.
func (w *env) agentsNamespace() string { return w.installed.Options.OwnNamespace + "-agents" }

// account is the ServiceAccount of a host's agent.
func (w *env) account(host string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.agentsNamespace(), Name: agents.AccountName(w.ns, host)}}
}

// agent is a connection with the rights of a host's agent.
func (w *env) agent(host string) client.Client {
	w.t.Helper()
	c, err := testenv.Client(testenv.As(cfg, w.agentsNamespace(), w.account(host).Name))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// gets says whether the agent of a host may read Secrets: a name that begins with '!' is one that it may not.
func (w *env) gets(host string, secrets ...string) {
	w.t.Helper()
	c := w.agent(host)
	w.soon(100*time.Millisecond, "the agent of "+host+" may read "+strings.Join(secrets, " "), func() error {
		var errs []error
		for _, name := range secrets {
			name, not := strings.CutPrefix(name, "!")
			err := c.Get(w.t.Context(), keyOf(w.ns, name), &corev1.Secret{})
			if not && !apierrors.IsForbidden(err) || !not && err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, errors.Join(errors.New("it may not be so"), err)))
			}
		}
		return errors.Join(errs...)
	})
}

// grants are the Roles and RoleBindings of a namespace which are made for agents, by name.
func (w *env) grants(namespace string) []string {
	w.t.Helper()
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	var out []string
	for _, l := range []client.ObjectList{&roles, &bindings} {
		if err := w.api.List(w.t.Context(), l, client.InNamespace(namespace), client.HasLabels{v1alpha1.ManagedLabel}); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, r := range roles.Items {
		out = append(out, "Role "+r.Name)
	}
	for _, b := range bindings.Items {
		out = append(out, "RoleBinding "+b.Name)
	}
	slices.Sort(out)
	return out
}

// grant is the name of the one Role and RoleBinding of the test's namespace.
func (w *env) grant() string {
	w.t.Helper()
	var name string
	w.soon(100*time.Millisecond, "there is one grant", func() error {
		all := w.grants(w.ns)
		if len(all) != 2 {
			return fmt.Errorf("there are %v", all)
		}
		name = strings.TrimPrefix(all[0], "Role ")
		return nil
	})
	return name
}

// token asks for a token of a host's agent, as another one's.
func (w *env) token(as client.Client, host string) (string, error) {
	request := &authenticationv1.TokenRequest{}
	err := as.SubResource("token").Create(w.t.Context(), w.account(host), request)
	return request.Status.Token, err
}

// TestAgentAccess lets each agent read what is for its host and no more, and make tokens of its own alone.
func TestAgentAccess(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newAccountKey("sa"), newServer("k8s-master", given.SignedBy("sa"), agentServer), newKubelet("node1", byAgent),
		newKubelet("proxy1", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.Role = "KubeProxy" }),
		newKubelet("node2", byAgent, ofHost("k8s-node2")), newKubelet("node3", ofHost("k8s-node3")))
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	for _, name := range []string{"node1", "proxy1", "node2", "node3"} {
		w.ready(name, &v1alpha1.NodeCredential{})
	}
	w.gets("k8s-node1", "node1-tls", "proxy1-tls", "!node1-kubeconfig", "!node2-tls", "!k8s-master-tls", "!sa", "!other")
	w.gets("k8s-node2", "node2-tls", "!node1-tls", "!proxy1-tls", "!sa")
	w.gets("k8s-master", "k8s-master-tls", "sa", "!node1-tls", "!other")
	if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(w.account("k8s-node3")), &corev1.ServiceAccount{}); !apierrors.IsNotFound(err) {
		t.Errorf("a host without an agent has an account: %v", err)
	}

	one := w.agent("k8s-node1")
	for what, err := range map[string]error{
		"list Secrets":          one.List(t.Context(), &corev1.SecretList{}, client.InNamespace(w.ns)),
		"read another Lease":    one.Get(t.Context(), keyOf(w.ns, "node2-tls"), &coordinationv1.Lease{}),
		"delete its Lease":      one.Delete(t.Context(), w.lease("node1-tls")),
		"change its Secret":     one.Update(t.Context(), w.secret("node1-tls")),
		"read an account":       one.Get(t.Context(), client.ObjectKeyFromObject(w.account("k8s-node1")), &corev1.ServiceAccount{}),
		"make another's token":  second(w.token(one, "k8s-node2")),
		"change its Role":       one.Delete(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "x"}}),
		"list the agents' Role": one.List(t.Context(), &rbacv1.RoleList{}, client.InNamespace(w.agentsNamespace())),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("it may %s: %v", what, err)
		}
	}
	lease := w.lease("node1-tls")
	if err := one.Update(t.Context(), lease); err != nil {
		t.Errorf("report in its Lease: %v", err)
	}
	token, err := w.token(one, "k8s-node1")
	if err != nil {
		t.Fatalf("make a token of its own: %v", err)
	}
	bearer := rest.AnonymousClientConfig(cfg)
	bearer.BearerToken = token
	with, err := testenv.Client(bearer)
	if err == nil {
		err = with.Get(t.Context(), keyOf(w.ns, "node1-tls"), &corev1.Secret{})
	}
	if err != nil {
		t.Errorf("by its own token: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestAgentAccessFollows takes a Secret from the Role when its object leaves, and everything when the last one does. A new namespace's host is
// another one.
func TestAgentAccessFollows(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	proxy := newKubelet("proxy1", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.Role = "KubeProxy" })
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent), proxy)
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("proxy1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls", "proxy1-tls")
	before := w.grant()
	account := w.account("k8s-node1")
	w.read(account)

	w.delete(proxy)
	w.gets("k8s-node1", "node1-tls", "!proxy1-tls")
	if after := w.grant(); after == before {
		t.Error("a Role was changed, which others may have bound")
	}
	edit(w, "node1", &v1alpha1.NodeCredential{}, ofHost("k8s-node9"))
	w.gets("k8s-node9", "node1-tls")
	w.gets("k8s-node1", "!node1-tls")
	w.settled()
	w.restartAt(w.clock.Now().Add(agents.KeptFor))
	w.withoutAccount("k8s-node1")
}

// TestAgentOfARenamedHost: what was issued for another host is named once it is issued for this one, however long that takes.
func TestAgentOfARenamedHost(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls")
	w.allow("k8s", &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer"}})
	edit(w, "node1", &v1alpha1.NodeCredential{}, ofHost("k8s-node9"))
	w.gets("k8s-node1", "!node1-tls")
	w.soon(100*time.Millisecond, "k8s-node9 has an account", func() error {
		return w.api.Get(t.Context(), client.ObjectKeyFromObject(w.account("k8s-node9")), &corev1.ServiceAccount{})
	})
	w.grant()
	w.gets("k8s-node9", "!node1-tls")
	w.allow("k8s", nil)
	w.gets("k8s-node9", "node1-tls")
}

// TestAgentAccountIsDeleted makes the account anew, and leaves nothing of what the one before was given.
func TestAgentAccountIsDeleted(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls")
	before := w.grant()
	if err := w.api.Delete(t.Context(), w.account("k8s-node1")); err != nil {
		t.Fatal(err)
	}
	w.soon(100*time.Millisecond, "another account has other Roles", func() error {
		if all := append(w.grants(w.ns), w.grants(w.agentsNamespace())...); len(all) != 4 || slices.Contains(all, "Role "+before) {
			return fmt.Errorf("there are %v", all)
		}
		return w.api.Get(t.Context(), client.ObjectKeyFromObject(w.account("k8s-node1")), &corev1.ServiceAccount{})
	})
	w.gets("k8s-node1", "node1-tls")
}

// read reads an object of any namespace.
func (w *env) read(o client.Object) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		w.t.Fatal(err)
	}
}

// TestAgentGrantsAreReplaced makes a Role anew, under another name, whenever somebody changes or deletes it or its binding. What others have planted
// stays theirs.
func TestAgentGrantsAreReplaced(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	planted := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{
		Name: "clusterpki-agent-k8s-node1", Annotations: map[string]string{v1alpha1.AgentAnnotation: w.ns + "/k8s-node1"},
	}}
	bound := &rbacv1.RoleBinding{
		ObjectMeta: *planted.ObjectMeta.DeepCopy(), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: planted.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "mallory"}},
	}
	w.create(planted, bound, newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls")
	uid := w.account("k8s-node1")
	w.read(uid)

	names := []string{w.grant()}
	for what, change := range map[string]func(name string) error{
		"a Role that names more": func(name string) error {
			return change(w, name, &rbacv1.Role{}, func(r *rbacv1.Role) { r.Rules[0].ResourceNames = append(r.Rules[0].ResourceNames, "other") })
		},
		"a Role that is gone": func(name string) error {
			return w.api.Delete(w.t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}})
		},
		"a binding for another": func(name string) error {
			return change(w, name, &rbacv1.RoleBinding{}, func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, bound.Subjects...) })
		},
		"a binding that is gone": func(name string) error {
			return w.api.Delete(w.t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}})
		},
	} {
		last := names[len(names)-1]
		if err := change(last); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w.soon(100*time.Millisecond, what+" is replaced", func() error {
			if all := w.grants(w.ns); len(all) != 2 || strings.HasSuffix(all[0], last) {
				return fmt.Errorf("there are %v", all)
			}
			return nil
		})
		w.gets("k8s-node1", "node1-tls", "!other")
		names = append(names, w.grant())
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 5 {
		t.Errorf("a name was taken twice: %v", names)
	}
	w.get(planted.Name, planted)
	if len(planted.Rules) > 0 {
		t.Errorf("a planted Role allows %v", planted.Rules)
	}
	again := w.account("k8s-node1")
	if w.read(again); again.UID != uid.UID {
		t.Error("the ServiceAccount was made anew")
	}
}

func change[T client.Object](w *env, name string, o T, how func(T)) error {
	w.get(name, o)
	how(o)
	return w.api.Update(w.t.Context(), o)
}

// TestAgentOfAnotherNamespace takes what the agent of a host had, where the namespace was made anew.
func TestAgentOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls")
	w.settled()
	w.stop()
	before := w.account("k8s-node1")
	w.read(before)
	seal, err := w.store().Seal(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	record, ok := agents.RecordOf(seal, before)
	if !ok {
		t.Fatalf("its record is %v", before.Annotations)
	}
	record.NamespaceUID = "of-another"
	if err := record.Enter(seal, before); err != nil {
		t.Fatal(err)
	}
	if err := w.api.Update(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	w.delete(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: w.grant()}})
	w.start()
	w.gets("k8s-node1", "node1-tls")
	after := w.account("k8s-node1")
	if w.read(after); after.UID == before.UID {
		t.Error("an agent of another namespace has what is in this one")
	}
}
