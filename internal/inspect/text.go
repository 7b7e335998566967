package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/status"
)

// Text is the report for people. In a wide one the CAs of a bundle are shown in full.
func (r Report) Text(s status.Style) string {
	p := printer{now: r.Time, style: s, shown: map[string]bool{}}
	if r.Object != nil {
		p.object(*r.Object)
	}
	for _, src := range r.Sources {
		p.source(src)
	}
	text := strings.TrimPrefix(p.b.String(), "\n")
	return text + status.Report{Problems: r.Problems}.ProblemText(s)
}

type printer struct {
	b     strings.Builder
	now   time.Time
	style status.Style
	shown map[string]bool // the fingerprints of certificates that were shown in full
}

func (p *printer) title(text string) {
	p.b.WriteString("\n" + p.style.Colored(status.Bold, text) + "\n")
}

// line writes a name and a text, wrapped; nothing where there is no text.
func (p *printer) line(indent int, name, text string) {
	p.colored(indent, name, status.Plain, text)
}

func (p *printer) colored(indent int, name string, paint status.Paint, text string) {
	if text == "" {
		return
	}
	const width = 13
	lead := strings.Repeat(" ", indent)
	first := lead + p.style.Colored(status.Faint, name) + strings.Repeat(" ", max(1, width-len(name)))
	wrapped := p.style.Wrapped(lead+strings.Repeat(" ", max(width, len(name)+1)), lead+strings.Repeat(" ", width), text)
	body := wrapped[len(lead)+max(width, len(name)+1):]
	p.b.WriteString(first + p.style.Colored(paint, body) + "\n")
}

// when is a moment, and how far it lies ahead or back.
func (p *printer) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s)", t.UTC().Format("2006-01-02 15:04:05Z"), status.Until(p.now, t))
}

func (p *printer) object(o Object) {
	paint := status.Green
	switch {
	case !o.Ready:
		paint = status.Red
	case o.State.State != "Ready":
		paint = status.Yellow
	}
	p.b.WriteString("\n" + p.style.Colored(status.Bold, fmt.Sprintf("%s/%s in %s", o.Kind, o.Name, o.Namespace)) + "  " +
		p.style.Colored(paint, o.State.State) + "\n")
	identity := o.Identity
	if o.Role != "" {
		identity += ", role " + o.Role
	}
	if o.Host != "" && o.Host != o.Identity {
		identity += ", on " + o.Host
	}
	p.line(2, "identity", identity)
	p.line(2, "signed by", signedBy(o))
	p.line(2, "expires", p.when(o.NotAfter))
	p.line(2, "renewed", p.when(o.RenewalTime))
	p.line(2, "serial", o.SerialNumber)
	p.line(2, "fingerprint", o.SHA256Fingerprint)
	if o.SecretName != "" {
		p.line(2, "in", "Secret/"+o.SecretName)
	}
	if t := o.Trust; t.BundleRevision != 0 {
		p.line(2, "trust", strings.TrimSpace(fmt.Sprintf("revision %d %s", t.BundleRevision, t.BundleSHA256)))
	}
	p.rotation(o)
	if k := o.ServiceAccountKey; k != nil {
		p.accountKey(*k)
	}
	if o.ServiceAccountKeyName != "" {
		p.line(2, "tokens", "signed and accepted with the keys of "+status.KindServiceAccountKey+"/"+o.ServiceAccountKeyName)
	}
	if o.Pending {
		p.colored(2, "waited for", status.Yellow, "the rotation of its CA waits for it")
	}
	for _, text := range o.Unread {
		p.colored(2, "not read", status.Yellow, text)
	}
	p.conditions(o.Conditions)
	if o.Delivery != nil {
		p.delivery(*o.Delivery)
	}
	p.events(o.Events)
}

func signedBy(o Object) string {
	switch {
	case o.Kind == status.KindClusterCA && o.CA == "":
		return ""
	case o.Kind == status.KindClusterCA:
		return "ClusterCA/" + o.CA
	case o.IssuerGeneration == 0:
		return "ClusterCA/" + o.CA
	case o.OldGeneration:
		return fmt.Sprintf("generation %d of ClusterCA/%s, which is being rotated", o.IssuerGeneration, o.CA)
	default:
		return fmt.Sprintf("generation %d of ClusterCA/%s", o.IssuerGeneration, o.CA)
	}
}

func (p *printer) rotation(o Object) {
	for _, g := range o.Generations {
		p.line(2, fmt.Sprintf("generation %d", g.Number), strings.TrimSuffix(
			fmt.Sprintf("%s, until %s, fingerprint %s", g.State, p.when(g.NotAfter.Time), g.SHA256Fingerprint), ", fingerprint "))
	}
	if o.Rotation == nil {
		if r := o.LastRotation; r != nil {
			p.line(2, "rotation", status.LastText(p.now, *r))
		}
		return
	}
	r := o.Rotation.Timeline
	for i, text := range status.RotationLines(p.now, r) {
		name := ""
		if i == 0 {
			name = "rotation"
		}
		p.colored(2, name, status.Yellow, text)
	}
}

// accountKey shows what a ServiceAccountKey has besides.
func (p *printer) accountKey(k status.ServiceAccountKey) {
	for _, key := range k.Keys {
		p.line(2, fmt.Sprintf("key %d", key.Number), status.KeyText(p.now, key))
	}
	p.line(2, "sa.pub", k.PublicKeysSHA256)
	for i, text := range status.PublicationLines(p.now, k.Publication) {
		name := ""
		if i == 0 {
			name = "rotation"
		}
		p.colored(2, name, status.Yellow, text)
	}
	if len(k.UsedBy) > 0 {
		p.line(2, "used by", status.KindAPIServerCertificate+"/"+strings.Join(k.UsedBy, ", "+status.KindAPIServerCertificate+"/"))
	}
	p.colored(2, "tokens", status.Yellow, k.TokensText())
}

func (p *printer) conditions(all []Condition) {
	if len(all) == 0 {
		return
	}
	p.title("Conditions")
	for _, c := range all {
		mark, paint := "✓", status.Green
		if bad(c.Type, c.Status) {
			mark, paint = "✗", status.Red
		} else if goodIf[c.Type] == "" {
			mark, paint = "·", status.Plain
		}
		text := fmt.Sprintf("%s is %s: %s", c.Type, c.Status, c.Reason)
		if !c.Since.IsZero() {
			text += ", for " + status.HumanDuration(p.now.Sub(c.Since))
		}
		if c.Outdated {
			text += ", of an older spec"
		}
		p.b.WriteString("  " + p.style.Colored(paint, mark+" "+text) + "\n")
		if c.Message != "" {
			p.b.WriteString(p.style.Wrapped("    ", "    ", c.Message) + "\n")
		}
		if c.Next != "" {
			p.b.WriteString(p.style.Wrapped("    → ", "      ", c.Next) + "\n")
		}
	}
}

func (p *printer) delivery(d Delivery) {
	p.title("Delivery")
	mode := d.Mode
	if d.PropagationDelay != "" {
		mode += ", assumed after " + delayText(d.PropagationDelay)
	}
	if d.AcceptAssumed != "" {
		mode += "; acceptAssumed: " + d.AcceptAssumed
	}
	p.line(2, "mode", mode)
	p.line(2, "issued", stateText(d.Issued))
	p.line(2, "acknowledged", acknowledgedText(d.Acknowledged))
	if a := d.Agent; a != nil {
		p.line(2, "installed", stateText(a.Installed))
		p.line(2, "verified", stateText(a.Verified))
		p.colored(2, "problem", status.Red, status.Printable(a.Problem))
		renewed := p.when(a.RenewTime)
		if renewed == "" {
			renewed = "never"
		}
		switch {
		case a.Invalid:
			p.colored(2, "agent", status.Red, "not signed by the key of a certificate of this object: it counts for nothing")
		case a.LeaseExpired:
			p.colored(2, "agent", status.Red, "Lease expired; last renewed "+renewed)
		default:
			p.line(2, "agent", "renewed its Lease "+renewed)
		}
	}
	if d.InUse == nil {
		return
	}
	if *d.InUse {
		p.colored(2, "in use", status.Green, "yes: all that is issued")
	} else {
		p.colored(2, "in use", status.Yellow, "not all that is issued, as far as is known")
	}
}

// delayText is a duration as people write it: '10m'.
func delayText(of string) string {
	d, err := time.ParseDuration(of)
	if err != nil {
		return status.Printable(of)
	}
	return status.HumanDuration(d)
}

// stateText is what Secrets hold, or what a host has.
func stateText(s *ack.State) string {
	if s == nil {
		return ""
	}
	var parts []string
	if s.SerialNumber != "" {
		parts = append(parts, "certificate "+status.Printable(s.SerialNumber))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Contents)) {
		if !strings.HasSuffix(key, "/tls.crt") {
			parts = append(parts, fmt.Sprintf("bundle %.12s in %s", status.Printable(s.Contents[key]), status.Printable(key)))
		}
	}
	return strings.Join(parts, ", ")
}

// acknowledgedText is what a person has acknowledged.
func acknowledgedText(a *v1alpha1.AcknowledgedDelivery) string {
	if a == nil {
		return ""
	}
	var parts []string
	if a.SerialNumber != "" {
		parts = append(parts, "certificate "+status.Printable(a.SerialNumber))
	}
	for _, t := range a.Trust {
		parts = append(parts, fmt.Sprintf("trust bundle %s of %s", status.Printable(t.BundleSHA256), status.Printable(t.Name)))
	}
	return strings.Join(parts, ", ")
}

func (p *printer) events(all []Event) {
	if len(all) == 0 {
		return
	}
	p.title("Events")
	for _, e := range all {
		paint := status.Plain
		if e.Type != "Normal" {
			paint = status.Yellow
		}
		text := e.Reason + ": " + e.Message
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		p.colored(2, status.Until(p.now, e.Time), paint, text)
	}
}
