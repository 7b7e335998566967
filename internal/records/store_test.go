package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/test/files"
)

var place = Place{Namespace: "prod", NamespaceUID: "ns", HomeUID: "home"}

// env is a store before an API server, and the objects that there are, by kind and name.
type env struct {
	t       *testing.T
	api     client.Client
	store   *Store
	mu      sync.Mutex
	objects map[string]types.UID // under mu
	writes  int
	refuse  func(writes int) error // of a write
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, objects: map[string]types.UID{}}
	count := func() error {
		e.writes++
		if e.refuse != nil {
			return e.refuse(e.writes)
		}
		return nil
	}
	e.api = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := count(); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := count(); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	e.store = e.another()
	return e
}

// another is the store of an operator that takes over.
func (e *env) another() *Store {
	s := New("authority", e.api, func() time.Time { return now }, func(_ context.Context, _, kind, name string) (types.UID, bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.objects[kind+"/"+name], true
	})
	s.window = 20 * time.Millisecond
	return s
}

// object is one that is there.
func (e *env) object(name string) Object {
	o := Object{UID: types.UID("uid-" + name), Kind: "NodeCredential", Name: name}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.objects[o.Kind+"/"+o.Name] = o.UID
	return o
}

func issue(o Object, serial string) Issue {
	return Issue{Object: o, SerialNumber: serial, PublicKey: []byte("key of " + serial), Time: now, NotAfter: now.Add(time.Hour)}
}

func (e *env) record(o Object, serial string, inUse ...string) {
	e.t.Helper()
	if err := e.store.Record(e.t.Context(), place, issue(o, serial), inUse...); err != nil {
		e.t.Fatal(err)
	}
}

// has says which serial numbers a store knows of an object.
func (e *env) has(s *Store, o Object, want ...string) {
	e.t.Helper()
	issues, err := s.Of(e.t.Context(), "prod", o)
	if err != nil {
		e.t.Fatal(err)
	}
	var got []string
	for _, i := range issues {
		got = append(got, i.SerialNumber)
	}
	if !slices.Equal(got, want) {
		e.t.Errorf("%s has %v instead of %v", o.Name, got, want)
	}
}

func (e *env) secret(number int) *corev1.Secret {
	e.t.Helper()
	var s corev1.Secret
	if err := e.api.Get(e.t.Context(), client.ObjectKey{Namespace: "authority", Name: SecretName("prod", number)}, &s); err != nil {
		e.t.Fatal(err)
	}
	return &s
}

// TestRecords come back to whoever reads them next, by the UID of the object alone.
func TestRecords(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	e.record(a, "01")
	e.record(b, "02")
	e.record(a, "03")
	for _, s := range []*Store{e.store, e.another()} {
		e.has(s, a, "01", "03")
		e.has(s, b, "02")
		e.has(s, Object{UID: "another", Kind: a.Kind, Name: a.Name})
		e.has(s, Object{Kind: a.Kind, Name: a.Name})
	}
	if s := e.secret(0); s.Type != SecretType || len(s.Data) != 1 {
		t.Errorf("it is %+v", s)
	}
	for _, p := range []Place{{Namespace: "prod", HomeUID: "home"}, {Namespace: "prod", NamespaceUID: "ns"}} {
		if err := e.store.Record(t.Context(), p, issue(a, "04")); err == nil {
			t.Errorf("something was recorded for %+v", p)
		}
	}
}

// TestManyAtOnce are written in few requests, and nobody goes on before his own is stored.
func TestManyAtOnce(t *testing.T) {
	e := newEnv(t)
	const n = 400
	slots := make(chan struct{}, 48)
	var all sync.WaitGroup
	for i := range n {
		o := e.object(fmt.Sprintf("node%d", i))
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := e.store.Record(t.Context(), place, issue(o, fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
			issues, err := e.another().Of(t.Context(), "prod", o)
			if err != nil || len(issues) != 1 {
				t.Errorf("%s is not stored: %v, %v", o.Name, issues, err)
			}
		})
	}
	all.Wait()
	if e.writes > n/10 {
		t.Errorf("%d were recorded in %d writes", n, e.writes)
	}
	t.Logf("%d were recorded in %d writes", n, e.writes)
}

// TestSecretsAreSplit, and each is written by itself; what nobody needs makes room.
func TestSecretsAreSplit(t *testing.T) {
	e := newEnv(t)
	var some []Object
	large := func(o Object, serial string) {
		t.Helper()
		i := issue(o, serial)
		i.PublicKey = make([]byte, 3<<10)
		if err := e.store.Record(t.Context(), place, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 80 {
		some = append(some, e.object(fmt.Sprintf("node%d", i)))
		large(some[i], "01")
	}
	if size := len(e.secret(2).Data[documentKey]); size > maxBytes {
		t.Errorf("one has %d bytes", size)
	}
	for n := range 2 {
		if size := len(e.secret(n).Data[documentKey]); size < fullAt || size > 2*fullAt {
			t.Errorf("number %d has %d bytes", n, size)
		}
	}
	e.has(e.another(), some[0], "01")
	e.has(e.another(), some[79], "01")
	for _, o := range some[:60] {
		delete(e.objects, o.Kind+"/"+o.Name)
	}
	for i := range 40 {
		large(e.object(fmt.Sprintf("next%d", i)), "02")
	}
	var s corev1.Secret
	if err := e.api.Get(t.Context(), client.ObjectKey{Namespace: "authority", Name: SecretName("prod", 3)}, &s); !apierrors.IsNotFound(err) {
		t.Errorf("another one was made: %v", err)
	}
	e.has(e.another(), some[40])
	e.has(e.another(), some[79], "01")
}

// TestWhatGoes: what a later acknowledged one has taken the place of, and, of too many, the oldest that nobody uses, wherever it stands.
func TestWhatGoes(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	e.record(a, "01")
	e.record(a, "02")
	e.record(a, "03")
	e.acknowledged(e.store, a, "02")
	e.has(e.store, a, "02", "03")
	e.acknowledged(e.store, a, "01") // long ago
	e.has(e.store, a, "02", "03")
	e.record(b, "11")
	e.has(e.another(), a, "02", "03")
	for n := range 2 * MaxPerObject {
		e.record(b, fmt.Sprintf("B%d", n), "11")
	}
	issues, err := e.another().Of(t.Context(), "prod", b)
	if err != nil || len(issues) != MaxPerObject || issues[0].SerialNumber != "11" {
		t.Errorf("%d are left: %v", len(issues), err)
	}
}

// TestRaces: somebody else writes at the same time, or a write is stored and its answer lost.
func TestRaces(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	e.record(a, "01")
	other := e.another()
	if err := other.Record(t.Context(), place, issue(b, "02")); err != nil {
		t.Fatal(err)
	}
	e.record(a, "03") // from what is outdated
	e.has(e.another(), a, "01", "03")
	e.has(e.store, b, "02")

	from := e.writes
	e.refuse = func(n int) error {
		if n == from+1 {
			return errors.New("connection lost")
		}
		return nil
	}
	if err := e.store.Record(t.Context(), place, issue(a, "04")); err == nil {
		t.Error("what was not stored is recorded")
	}
	e.has(e.store, a, "01", "03")
	e.refuse = func(int) error { return apierrors.NewConflict(schema.GroupResource{}, "x", nil) }
	if err := e.store.Record(t.Context(), place, issue(a, "05")); !apierrors.IsConflict(err) {
		t.Errorf("the error is %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.store.Record(ended, place, issue(a, "06")); err == nil {
		t.Error("nobody waits for it")
	}
}

// TestRestored issues belong to the object that has their name, and to none of another name, until they are written as its own.
func TestRestored(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	former := issue(Object{Kind: a.Kind, Name: a.Name}, "01")
	if err := e.store.Restore(t.Context(), place, []Issue{former}); err != nil {
		t.Fatal(err)
	}
	e.has(e.another(), a, "01")
	e.has(e.another(), b)
	e.has(e.store, a, "01")
	e.record(b, "02")
	e.has(e.another(), a, "01")
	e.has(e.another(), Object{UID: "later", Kind: a.Kind, Name: a.Name})
}

// TestDamage names the Secret; one without data is a new beginning.
func TestDamage(t *testing.T) {
	for name, change := range map[string]func(*corev1.Secret){
		"no JSON":      func(s *corev1.Secret) { s.Data[documentKey] = []byte("{") },
		"another's":    func(s *corev1.Secret) { s.Data[documentKey] = []byte(`{"namespace":"dev"}`) },
		"another type": func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"too large":    func(s *corev1.Secret) { s.Data[documentKey] = make([]byte, maxBytes+1) },
	} {
		e := newEnv(t)
		a := e.object("a")
		e.record(a, "01")
		s := e.secret(0)
		change(s)
		if err := e.api.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		_, err := e.another().Of(t.Context(), "prod", a)
		if err == nil || !strings.Contains(err.Error(), `"issued.prod.0" is damaged`) {
			t.Errorf("%s: %v", name, err)
		}
		s.Type, s.Data = SecretType, nil
		if err := e.api.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		e.has(e.another(), a)
	}
}

// FuzzDecode reads whatever stands in a Secret; what it takes, it takes again.
func FuzzDecode(f *testing.F) {
	good, err := document{Place: place, Issues: issued(2)}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}"))
	f.Add(bytes.Replace(files.Object[corev1.Secret](f, "issued.yaml").Data[documentKey], []byte(`"e2e"`), []byte(`"prod"`), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: SecretName("prod", 0)}, Type: SecretType, Data: map[string][]byte{documentKey: text}}
		d, err := decode(s, "prod", 0)
		namespace, restored, otherErr := Decode(s) // as of a backup
		if len(text) > 0 && (err == nil) != (otherErr == nil) || otherErr == nil && (namespace != "prod" || len(restored) != len(d.Issues)) {
			t.Errorf("it is %v, %v, and of a backup %d issues of %q, %v", d, err, len(restored), namespace, otherErr)
		}
		if err != nil {
			return
		}
		for _, i := range d.Issues {
			i.Key()
		}
		if s.Data[documentKey], err = d.encode(); err != nil {
			t.Fatal(err)
		}
		again, err := decode(s, "prod", 0)
		if err != nil || len(again.Issues) != len(d.Issues) {
			t.Errorf("%v, %v", again, err)
		}
	})
}

// TestRestoreAndRelease: what a backup brings, and what stood there before its namespace was made anew, is taken up by name, once.
func TestRestoreAndRelease(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	e.record(a, "01")
	e.record(b, "02")
	namespace, issues, err := Decode(e.secret(0))
	if err != nil || namespace != "prod" || len(issues) != 2 {
		t.Fatal(namespace, issues, err)
	}
	for range 2 { // a restore that was interrupted is done again
		if err := e.store.Restore(t.Context(), place, issues); err != nil {
			t.Fatal(err)
		}
	}
	e.has(e.another(), a, "01") // what is there still is there once, or it would not be the last
	e.objects["NodeCredential/a"] = "new"
	e.has(e.another(), Object{UID: "new", Kind: a.Kind, Name: "a"}, "01")

	other := newEnv(t)
	other.record(other.object("a"), "01")
	later := Place{Namespace: "prod", NamespaceUID: "another", HomeUID: "home"}
	back := Object{UID: "new", Kind: a.Kind, Name: "a"}
	other.objects["NodeCredential/a"] = back.UID
	if err := other.another().Record(t.Context(), later, issue(other.object("c"), "03")); err != nil {
		t.Fatal(err)
	}
	other.has(other.another(), back)
	if err := other.another().Release(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	other.has(other.another(), back, "01")
	other.has(other.another(), Object{UID: "uid-c", Kind: a.Kind, Name: "c"}, "03")
	for name, s := range map[string]*corev1.Secret{
		"nothing": {}, "another's": {ObjectMeta: metav1.ObjectMeta{Name: "issued.dev.0"}, Type: SecretType, Data: e.secret(0).Data},
	} {
		if _, _, err := Decode(s); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
