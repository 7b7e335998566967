package outputs

import (
	"bytes"
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Writer writes the outputs of one object.
type Writer struct {
	Secrets owned.Secrets
	Keeper  *owned.Keeper
	Owner   v1alpha1.Object
	// Controlled lets Kubernetes delete them with the object.
	Controlled bool
	// Fresh says, before something is written, whether that is up to date still. nil: what was read is, or the write fails.
	Fresh func(context.Context) error
}

// Write makes a Secret of a form, or writes what differs.
func (w Writer) Write(ctx context.Context, f Form) error {
	existing, err := w.Secrets.Live(ctx, w.Owner.GetNamespace(), f.Name)
	if err != nil {
		return err
	}
	if existing != nil {
		if err := w.Keeper.Check(ctx, w.Owner, existing); err != nil {
			return leaf.Conflict(err)
		}
		if err := f.TypeDiffers(existing); err != nil {
			return err
		}
	}
	if w.Fresh != nil && (existing == nil || !maps.EqualFunc(existing.Data, f.Data, bytes.Equal)) {
		if err := w.Fresh(ctx); err != nil {
			return err
		}
	}
	if existing == nil {
		s := f.Secret(w.Owner.GetNamespace())
		if err := owned.Create(ctx, w.Keeper, w.Owner, s, w.marks(f)); err != nil {
			return err
		}
		w.Secrets.Wrote.Created(owned.SecretKind, s)
		return leaf.Labelled(s)
	}
	next := existing.DeepCopy()
	f.Enter(next)
	if err := owned.Update(ctx, w.Keeper, w.Owner, existing, next, w.marks(f)); err != nil {
		return leaf.Conflict(err)
	}
	if next.ResourceVersion != existing.ResourceVersion {
		w.Secrets.Wrote.Updated(owned.SecretKind, next)
	}
	return nil
}

// marks are those of an output. Kamaji controls the Secrets that it takes over, and would not take one that the operator does.
func (w Writer) marks(f Form) owned.Marks {
	return f.Marks(consumers.Claim{Contents: consumers.ContentsDigest(f.Data)}, w.Controlled)
}

// Marks are those of a form, with a claim and as far as its owner controls it.
func (f Form) Marks(claim consumers.Claim, controlled bool) owned.Marks {
	claim.Output = string(f.Format)
	shared := f.Format == v1alpha1.OutputKamaji
	return owned.Marks{Claim: claim, Controlled: controlled && !shared, Shared: shared, Labels: f.Labels}
}

// Secret is one of the form.
func (f Form) Secret(namespace string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: owned.SecretKind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.Name, Labels: maps.Clone(f.Labels)}, Type: f.Type, Data: maps.Clone(f.Data),
	}
}

// Enter gives a Secret what it is to hold, and its labels. Others may have put more labels there.
func (f Form) Enter(s *corev1.Secret) {
	s.Data = maps.Clone(f.Data)
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	maps.Copy(s.Labels, f.Labels)
}

// TypeDiffers says, as a stall, that a Secret is of another type, which never changes.
func (f Form) TypeDiffers(existing *corev1.Secret) error {
	if f.Format == "" {
		return leaf.TypeDiffers(existing, f.Type)
	}
	if existing.Type == f.Type {
		return nil
	}
	return stall.Because(v1alpha1.ReasonSecretTypeDiffers, "Secret %q is of type %s, and format %s needs type %s; a Secret's type never changes: delete the "+
		"Secret, and it is made again", existing.Name, existing.Type, f.Format, f.Type)
}

// Distinct says, as a stall, which Secret two parts of a spec name.
func Distinct(o v1alpha1.Object) error {
	names := o.SecretNames()
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return stall.Because(v1alpha1.ReasonInvalidSpec, "spec.outputs: Secret %q would hold two things: change clusterName, or the name of the "+
				"other Secret", name)
		}
	}
	return nil
}
