package owned_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
)

var ctx = context.Background()

// fixture is a keeper, a client that counts writes, and the objects that exist and name their product.
type fixture struct {
	*owned.Keeper
	client client.Client
	writes int
	living map[types.UID]string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{living: map[types.UID]string{}}
	f.client = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			f.writes++
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			f.writes++
			return c.Patch(ctx, o, patch, opts...)
		},
	}).Build()
	seal, err := authority.New("home", f.client, nil).Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.writes = 0
	f.Keeper = &owned.Keeper{Client: f.client, Seal: seal, Holds: func(_ context.Context, _ client.Object, _ string, uid types.UID) (string, bool, error) {
		name, ok := f.living[uid]
		return name, ok, nil
	}}
	return f
}

func owner(name string) v1alpha1.Object {
	return &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "prod", UID: types.UID("uid-" + name), Labels: map[string]string{"argocd.argoproj.io/instance": "app"},
	}}
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod"}, Data: map[string][]byte{"tls.crt": []byte("x")}}
}

func (f *fixture) read(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := f.client.Get(ctx, client.ObjectKey{Namespace: "prod", Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// made is a Secret that was made for n.
func (f *fixture) made(t *testing.T, m owned.Marks) *corev1.Secret {
	t.Helper()
	if err := owned.Create(ctx, f.Keeper, owner("n"), secret("a"), m); err != nil {
		t.Fatal(err)
	}
	return f.read(t, "a")
}

func TestMarks(t *testing.T) {
	f := newFixture(t)
	s := f.made(t, owned.Marks{Claim: consumers.Claim{UID: "ignored", Issuer: "k8s", Generation: 2}, Controlled: true})
	for key, want := range map[string]string{
		v1alpha1.ManagedLabel: v1alpha1.ManagedValue, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.OwnerKindLabel: "NodeCredential",
	} {
		if s.Labels[key] != want {
			t.Errorf("label %s is %q", key, s.Labels[key])
		}
	}
	if len(s.Labels) != 3 {
		t.Errorf("labels of the owner are copied: %v", s.Labels)
	}
	if s.Annotations[v1alpha1.OwnerAnnotation] != "NodeCredential/n" {
		t.Errorf("%v", s.Annotations)
	}
	if c, ok := f.ClaimOf(s); !ok || c.UID != "uid-n" || c.Issuer != "k8s" || c.Generation != 2 || !f.Mine(owner("n"), s) || f.Mine(owner("m"), s) {
		t.Errorf("%+v, %v", c, ok)
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "uid-n" || !*s.OwnerReferences[0].Controller || s.OwnerReferences[0].Name != "n" {
		t.Errorf("%+v", s.OwnerReferences)
	}

	next := s.DeepCopy()
	delete(next.Labels, v1alpha1.ManagedByLabel)
	next.OwnerReferences = append(next.OwnerReferences, metav1.OwnerReference{Kind: "X", Name: "x", UID: "x"})
	if err := owned.Update(ctx, f.Keeper, owner("n"), s, next, owned.Marks{}); err != nil {
		t.Fatal(err)
	}
	s = f.read(t, "a")
	if _, back := s.Labels[v1alpha1.ManagedByLabel]; back || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "x" {
		t.Errorf("others' references and labels: %v, %+v", s.Labels, s.OwnerReferences)
	}
}

// TestWhatIsEqualIsNotWritten, and what differs is written once.
// TestTemplate: what a template names is put onto Secrets and taken off again; what others put there stays, and what is the operator's too.
func TestTemplate(t *testing.T) {
	f := newFixture(t)
	of := func(labels, annotations map[string]v1alpha1.TemplateText) v1alpha1.Object {
		return &v1alpha1.NodeCredential{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "n", UID: "n-uid"},
			Spec:       v1alpha1.NodeCredentialSpec{SecretTemplate: &v1alpha1.SecretTemplate{Labels: labels, Annotations: annotations}},
		}
	}
	first := of(map[string]v1alpha1.TemplateText{"team": "a", "gone": "x", "clusterpki.io/managed": "no"},
		map[string]v1alpha1.TemplateText{"note": "1", "gone": "y", "clusterpki.io/claim": "forged", "clusterpki.io/owner": "forged"})
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "n-tls"}}
	if err := owned.Create(ctx, f.Keeper, first, s, owned.Marks{}); err != nil {
		t.Fatal(err)
	}
	if s.Labels["team"] != "a" || s.Labels["gone"] != "x" || s.Annotations["note"] != "1" || s.Annotations["gone"] != "y" ||
		s.Labels[v1alpha1.ManagedLabel] != v1alpha1.ManagedValue || !f.Mine(first, s) || s.Annotations[v1alpha1.OwnerAnnotation] != "NodeCredential/n" {
		t.Errorf("it bears %v and %v", s.Labels, s.Annotations)
	}
	s.Labels["theirs"], s.Annotations["theirs"] = "z", "z"
	if err := f.client.Update(ctx, s); err != nil {
		t.Fatal(err)
	}
	next := s.DeepCopy()
	second := of(map[string]v1alpha1.TemplateText{"team": "b"}, nil)
	if err := owned.Update(ctx, f.Keeper, second, s, next, owned.Marks{}); err != nil {
		t.Fatal(err)
	}
	_, label := next.Labels["gone"]
	_, annotation := next.Annotations["gone"]
	if label || annotation || next.Labels["team"] != "b" || next.Labels["theirs"] != "z" || next.Annotations["theirs"] != "z" || next.Annotations["note"] != "" {
		t.Errorf("it bears %v and %v", next.Labels, next.Annotations)
	}
	writes := f.writes
	if err := owned.Update(ctx, f.Keeper, second, next, next.DeepCopy(), owned.Marks{}); err != nil || f.writes != writes {
		t.Errorf("it is written again: %v", err)
	}
	trust := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "n-trust"}}
	if err := owned.Create(ctx, f.Keeper, second, trust, owned.Marks{}); err != nil || trust.Labels["team"] != "" {
		t.Errorf("a ConfigMap bears %v: %v", trust.Labels, err)
	}
}

func TestWhatIsEqualIsNotWritten(t *testing.T) {
	f := newFixture(t)
	marks := owned.Marks{Claim: consumers.Claim{Issuer: "k8s"}, Controlled: true}
	s := f.made(t, marks)
	if err := owned.Update(ctx, f.Keeper, owner("n"), s, s.DeepCopy(), marks); err != nil || f.writes != 1 {
		t.Errorf("%d writes, %v", f.writes, err)
	}
	for name, mod := range map[string]func(*corev1.Secret, *owned.Marks){
		"contents":      func(s *corev1.Secret, _ *owned.Marks) { s.Data["tls.crt"] = []byte("y") },
		"another claim": func(_ *corev1.Secret, m *owned.Marks) { m.Claim.Generation = 3 },
	} {
		before, seen, m := f.writes, f.read(t, "a"), marks
		next := seen.DeepCopy()
		mod(next, &m)
		if err := owned.Update(ctx, f.Keeper, owner("n"), seen, next, m); err != nil || f.writes != before+1 {
			t.Errorf("%s: %d writes, %v", name, f.writes-before, err)
		}
	}
}

// TestCheck says whose a product is: with no claim a stranger's, with a living holder's that one's, else free.
func TestCheck(t *testing.T) {
	f := newFixture(t)
	s := f.made(t, owned.Marks{})
	copied := s.DeepCopy()
	copied.Name = "b"
	for name, tc := range map[string]struct {
		owner  v1alpha1.Object
		object client.Object
		living bool
		want   string
	}{
		"its own":                        {owner("n"), s, true, ""},
		"its own, which is not seen yet": {owner("n"), s, false, ""},
		"a living one's":                 {owner("m"), s, true, "was made for NodeCredential n"},
		"of one that is gone":            {owner("m"), s, false, ""},
		"nobody's":                       {owner("n"), secret("c"), true, "the operator did not make it"},
		"a copy":                         {owner("n"), copied, true, "the operator did not make it"},
		"of another kind": {owner("n"), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "a", Annotations: s.Annotations}}, true,
			"ConfigMap \"a\" exists, and the operator did not make it"},
		"a Lease": {owner("n"), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "a"}}, true, "Lease \"a\""},
	} {
		f.living = map[types.UID]string{}
		if tc.living {
			f.living["uid-n"] = "NodeCredential n"
		}
		err := f.Check(ctx, tc.owner, tc.object)
		if tc.want == "" && err != nil || tc.want != "" && (!owned.IsConflict(err) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	copyOfKey := s.DeepCopy()
	copyOfKey.Annotations[v1alpha1.ClaimAnnotation] = consumers.Claim{UID: "uid-n", CAKey: true}.Text(f.Seal, "Secret", "prod", "a")
	f.living = map[types.UID]string{}
	if err := f.Check(ctx, owner("m"), copyOfKey); !owned.IsConflict(err) || !strings.Contains(err.Error(), "holds a copy of a CA's key") {
		t.Errorf("the copy of a CA's key, of one that is gone: %v", err)
	}
	if err := errors.Join(f.Check(ctx, owner("n"), copyOfKey), f.CheckCopy(ctx, owner("m"), copyOfKey)); err != nil {
		t.Errorf("its own, or one that is recorded: %v", err)
	}
	down := errors.New("down")
	f.Holds = func(context.Context, client.Object, string, types.UID) (string, bool, error) { return "", false, down }
	if err := f.Check(ctx, owner("m"), s); !errors.Is(err, down) || owned.IsConflict(err) {
		t.Errorf("where nobody knows: %v", err)
	}
}

// TestWritesTakeNothingOver: what came in between is neither written over nor lost.
func TestWritesTakeNothingOver(t *testing.T) {
	f := newFixture(t)
	s := f.made(t, owned.Marks{})
	if err := owned.Create(ctx, f.Keeper, owner("m"), secret("a"), owned.Marks{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("made over it: %v", err)
	}
	first, second := s.DeepCopy(), s.DeepCopy()
	first.Data["tls.crt"], second.Data["tls.crt"] = []byte("1"), []byte("2")
	if err := owned.Update(ctx, f.Keeper, owner("n"), s, first, owned.Marks{}); err != nil {
		t.Fatal(err)
	}
	if err := owned.Update(ctx, f.Keeper, owner("n"), s, second, owned.Marks{}); !apierrors.IsConflict(err) {
		t.Errorf("written over another: %v", err)
	}
	if got := f.read(t, "a"); string(got.Data["tls.crt"]) != "1" || !f.Mine(owner("n"), got) {
		t.Errorf("%s", got.Data["tls.crt"])
	}
}

// TestWhatACacheLeftOutStays: a write changes what differs, and nothing that was not read.
func TestWhatACacheLeftOutStays(t *testing.T) {
	f := newFixture(t)
	seen := f.made(t, owned.Marks{})
	seen.Data = nil
	next := seen.DeepCopy()
	next.Data = map[string][]byte{"ca.crt": []byte("y")}
	if err := owned.Update(ctx, f.Keeper, owner("n"), seen, next, owned.Marks{}); err != nil {
		t.Fatal(err)
	}
	if got := f.read(t, "a").Data; string(got["tls.crt"]) != "x" || string(got["ca.crt"]) != "y" {
		t.Errorf("it holds %v", got)
	}
}

// TestTemplateChangesNoForm: labels by which a program finds what it reads are not the template's to give, nor to take.
func TestTemplateChangesNoForm(t *testing.T) {
	f := newFixture(t)
	c, _ := owner("n").(*v1alpha1.NodeCredential)
	c.Spec.SecretTemplate = &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.TemplateText{
		"argocd.argoproj.io/secret-type": "repository", "team": "a",
	}}
	m := owned.Marks{Labels: map[string]string{"argocd.argoproj.io/secret-type": "cluster"}}
	if err := owned.Create(ctx, f.Keeper, c, secret("a"), m); err != nil {
		t.Fatal(err)
	}
	check := func(team string) {
		t.Helper()
		if got := f.read(t, "a").Labels; got["argocd.argoproj.io/secret-type"] != "cluster" || got["team"] != team {
			t.Errorf("%v", got)
		}
	}
	check("a")
	c.Spec.SecretTemplate = nil
	if err := owned.Update(ctx, f.Keeper, c, f.read(t, "a"), f.read(t, "a"), m); err != nil {
		t.Fatal(err)
	}
	check("")
}
