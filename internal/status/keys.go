package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

// ServiceAccountKey is one ServiceAccountKey with the API servers that name it.
type ServiceAccountKey struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// State is without the fields of a certificate: there is none. RenewalTime is when the key is rotated by its age.
	State
	// Keys are those that there are.
	Keys []v1alpha1.KeyStatus `json:"keys,omitempty"`
	// PublicKeysSHA256 is the SHA-256 of 'sa.pub' in the Secret.
	PublicKeysSHA256 string `json:"publicKeysSHA256,omitempty"`
	// Rotation is the one that is under way; absent while there is none.
	Rotation *v1alpha1.KeyRotationStatus `json:"rotation,omitempty"`
	// Acknowledged of the Required API servers use what is published; absent where the operator has not counted them yet.
	Acknowledged *int32 `json:"acknowledged,omitempty"`
	Required     *int32 `json:"required,omitempty"`
	// Pending are the first of those that do not, in the order in which they take their turns.
	Pending []v1alpha1.PendingConsumer `json:"pending,omitempty"`
	// TokenSecrets are the first Secrets whose tokens never end and keep an earlier key, TokenSecretCount is how many there are.
	TokenSecrets     []string `json:"tokenSecrets,omitempty"`
	TokenSecretCount *int32   `json:"tokenSecretCount,omitempty"`
	// UsedBy are the APIServerCertificates that name it.
	UsedBy []string `json:"usedBy,omitempty"`
	// Publication is the same for people.
	Publication timeline.Publication `json:"-"`
}

// keys describes the ServiceAccountKeys that the API servers of the CAs name which were drawn; or all.
func (b *builder) keys(all bool) []ServiceAccountKey {
	usedBy := map[string][]string{}
	for i := range b.objects.Servers {
		s := &b.objects.Servers[i]
		if ref := s.Spec.ServiceAccountKeyRef; ref != nil {
			usedBy[ref.Name] = append(usedBy[ref.Name], s.Name)
		}
	}
	var out []ServiceAccountKey
	for i := range b.objects.Keys {
		k := &b.objects.Keys[i]
		if !all && !b.drawn(k.Name) {
			continue
		}
		s := ofKey(k)
		b.problems = append(b.problems, s.problems(b.now)...)
		slices.Sort(usedBy[k.Name])
		out = append(out, keyOf(b.now, k, usedBy[k.Name]))
	}
	slices.SortFunc(out, func(x, y ServiceAccountKey) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// drawn says whether an API server of a CA that was drawn names a ServiceAccountKey.
func (b *builder) drawn(key string) bool {
	return slices.ContainsFunc(b.objects.Servers, func(s v1alpha1.APIServerCertificate) bool {
		return b.seen[s.Spec.CARef.Name] && s.Spec.ServiceAccountKeyRef != nil && s.Spec.ServiceAccountKeyRef.Name == key
	})
}

func keyOf(now time.Time, k *v1alpha1.ServiceAccountKey, usedBy []string) ServiceAccountKey {
	out := ServiceAccountKey{
		Namespace: k.Namespace, Name: k.Name, State: ofKey(k).state(now), Keys: k.Status.Keys, PublicKeysSHA256: k.Status.PublicKeysSHA256,
		Acknowledged: k.Status.Acknowledged, Required: k.Status.Required, Pending: k.Status.Pending,
		TokenSecrets: k.Status.TokenSecrets, TokenSecretCount: k.Status.TokenSecretCount, UsedBy: usedBy, Publication: timeline.PublicationOf(k),
	}
	out.RenewalTime, out.SecretName = k.Status.RenewalTime.Time, k.Status.SecretName
	if k.Status.Rotation.Phase != "" {
		out.Rotation = &k.Status.Rotation
	}
	return out
}

// PublicationLines say how far the rotation of a service account key is, or what has left since, whom that waits for, and what people can do so
// that it goes on; nothing where every API server uses what is published.
func PublicationLines(now time.Time, p timeline.Publication) []string {
	var out []string
	switch tally := p.Tally(); {
	case p.Rotating():
		text := string(p.Phase) + ", " + p.Title() + ": "
		if tally != "" {
			text += tally + ", "
		}
		out = append(out, text+"begun "+ago(now, p.Start))
	case p.PendingCount == 0:
		return nil
	default:
		out = append(out, "what is published is not in use everywhere: "+tally)
	}
	if waiting := p.Waiting(); len(waiting) > 0 {
		out = append(out, "waits for "+strings.Join(waiting, ", "))
	}
	return append(out, p.Edits()...)
}

// KeyText says what a key is for, and until when.
func KeyText(now time.Time, k v1alpha1.KeyStatus) string {
	text := string(k.State)
	if !k.RetainUntil.IsZero() {
		text += fmt.Sprintf(", until %s (%s) unless tokens need it", date(now, k.RetainUntil.Time), Until(now, k.RetainUntil.Time))
	}
	if k.KeyID != "" {
		text += ", kid " + k.KeyID
	}
	return text
}

// TokensText names the Secrets whose tokens keep an earlier key; "" for none.
func (k ServiceAccountKey) TokensText() string {
	count := 0
	if k.TokenSecretCount != nil {
		count = int(*k.TokenSecretCount)
	}
	if count = max(count, len(k.TokenSecrets)); count == 0 {
		return ""
	}
	text := "tokens that never end: Secrets " + strings.Join(k.TokenSecrets, ", ")
	if more := count - len(k.TokenSecrets); more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// accountKey draws a ServiceAccountKey.
func (t *tree) accountKey(k ServiceAccountKey) {
	name := KindServiceAccountKey + "/" + k.Name
	if t.style.Namespaces {
		name += " in " + k.Namespace
	}
	identity := ""
	if k.Publication.Active > 0 {
		identity = fmt.Sprintf("key %d signs", k.Publication.Active)
	}
	t.add("", cell{name, Bold}, k.State, identity, "", "")
	var items []item
	if len(k.Keys) > 1 {
		for _, key := range k.Keys {
			items = append(items, func(first, _ string) {
				s := State{Ready: true, State: string(key.State), NotAfter: key.RetainUntil.Time}
				t.add(first, cell{text: fmt.Sprintf("key %d", key.Number)}, s, kid(key.KeyID), "", "")
			})
		}
	}
	if len(k.UsedBy) > 0 {
		items = append(items, t.prose("used by "+KindAPIServerCertificate+"/"+strings.Join(k.UsedBy, ", "+KindAPIServerCertificate+"/")))
	}
	if text := k.TokensText(); text != "" {
		items = append(items, t.prose(text))
	}
	lead := "│  "
	if len(items) == 0 {
		lead = "   "
	}
	for _, text := range PublicationLines(t.now, k.Publication) {
		t.rows = append(t.rows, row{tree: lead, prose: text})
	}
	t.draw("", items)
}

// prose is a branch of words.
func (t *tree) prose(text string) item {
	return func(first, _ string) { t.rows = append(t.rows, row{tree: first, prose: text}) }
}

// kid is the begin of a key's identifier, as much as tells two apart.
func kid(id string) string {
	if id == "" {
		return ""
	}
	return "kid " + id[:min(len(id), 16)] + "…"
}
