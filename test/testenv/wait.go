package testenv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	// patience bounds every wait: it says that something never happens, not how fast it is.
	patience = 4 * time.Minute
	often    = 50 * time.Millisecond
)

// Wait waits until check answers nil, and returns its last answer if it never does.
func Wait(ctx context.Context, check func() error) error {
	return wait(ctx, often, check)
}

func wait(ctx context.Context, often time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(often):
		}
	}
}

// Eventually ends a test if check never answers nil.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	EventuallyEvery(t, often, what, check)
}

// EventuallyEvery is Eventually, for checks that may be made more often than usual.
func EventuallyEvery(t testing.TB, often time.Duration, what string, check func() error) {
	t.Helper()
	if err := wait(t.Context(), often, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Edit changes an object, and tries again when somebody else was faster.
func Edit[T client.Object](t testing.TB, api client.Client, o T, change func(T)) {
	t.Helper()
	Eventually(t, "edit "+o.GetName(), func() error {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change(o)
		return api.Update(t.Context(), o)
	})
}

// Condition waits for a condition of an object's present generation; "" stands for any reason.
func Condition(t testing.TB, api client.Reader, o v1alpha1.Object, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	Eventually(t, fmt.Sprintf("%s: %s=%s/%s", o.GetName(), kind, status, reason), func() error {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		c := meta.FindStatusCondition(*o.StatusConditions(), kind)
		if c == nil || c.Status != status || reason != "" && c.Reason != reason || c.ObservedGeneration != o.GetGeneration() {
			return fmt.Errorf("conditions are %+v", *o.StatusConditions())
		}
		found = *c
		return nil
	})
	return found
}

// Ready waits until an object is.
func Ready(t testing.TB, api client.Reader, o v1alpha1.Object) {
	t.Helper()
	Condition(t, api, o, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
}

// AllReady says how many objects of clusterpki there are in a namespace, and which are not Ready.
func AllReady(ctx context.Context, api client.Reader, namespace string) (int, error) {
	all, err := Objects(ctx, api, namespace)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, o := range all {
		c := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ReadyCondition)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != o.GetGeneration() {
			errs = append(errs, fmt.Errorf("%T %s is not Ready: %+v", o, o.GetName(), *o.StatusConditions()))
		}
	}
	return len(all), errors.Join(errs...)
}

// Objects are those of clusterpki in a namespace, of every kind.
func Objects(ctx context.Context, api client.Reader, namespace string) ([]v1alpha1.Object, error) {
	var out []v1alpha1.Object
	for _, k := range v1alpha1.Kinds() {
		list := k.NewList()
		if err := api.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list the objects of clusterpki: %w", err)
		}
		err := meta.EachListItem(list, func(o runtime.Object) error {
			out = append(out, o.(v1alpha1.Object))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the objects of clusterpki: %w", err)
		}
	}
	return out, nil
}
