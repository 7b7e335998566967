package inspect

import (
	"fmt"
	"strings"

	"clusterpki.io/operator/internal/status"
)

func (p *printer) source(src Source) {
	name := src.Name
	if src.Owner != "" {
		name += " of " + src.Owner
	}
	p.title(name)
	if src.Unread != "" {
		p.colored(2, "not read", status.Yellow, src.Unread)
	}
	for _, item := range src.Items {
		p.item(item, p.style.Wide || src.Name == filesName && len(item.Certificates) == 1)
	}
}

// item shows an item; full, with all that its CAs say.
func (p *printer) item(item Item, full bool) {
	p.b.WriteString("  " + p.style.Colored(status.Bold, status.Printable(item.Name)) + "  " + contentsOf(item) + "\n")
	p.colored(4, "damage", status.Red, item.Damage)
	for i, c := range item.Certificates {
		// The first that is no CA is what people look for; the others stand beside it, to be counted.
		if i == 0 && (!c.CA || item.Chain != nil) || full {
			p.certificate(4, c)
			if i == 0 && item.Chain != nil {
				p.chain(4, *item.Chain)
			}
			continue
		}
		p.short(4, c)
	}
	for _, k := range item.PrivateKeys {
		p.key(4, "private key", k)
	}
	for _, k := range item.PublicKeys {
		p.line(4, "public key", k.Kind)
	}
	for _, r := range item.Requests {
		p.line(4, "request", r.Subject)
		p.line(4, "names", strings.Join(append(append([]string{}, r.DNSNames...), r.IPAddresses...), ", "))
		p.line(4, "key", r.Key)
	}
	if item.Kubeconfig != nil {
		p.kubeconfig(*item.Kubeconfig)
	}
}

// contentsOf says in a few words what an item holds.
func contentsOf(item Item) string {
	var parts []string
	add := func(n int, thing string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+thing)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, thing))
		}
	}
	add(len(item.Certificates), "certificate")
	add(len(item.PrivateKeys), "private key")
	add(len(item.PublicKeys), "public key")
	add(len(item.Requests), "certificate signing request")
	if item.Kubeconfig != nil {
		parts = append(parts, "kubeconfig")
	}
	switch {
	case len(item.Manifests) == 1:
		return "a manifest, not read"
	case len(item.Manifests) > 1:
		return "manifests, not read"
	case len(parts) == 0 && item.Damage != "":
		return "unreadable"
	case len(parts) == 0:
		return "something else, not shown"
	}
	return strings.Join(parts, ", ")
}

// certificate shows all that a certificate says, once.
func (p *printer) certificate(indent int, c Certificate) {
	if p.shown[c.SHA256Fingerprint] {
		p.line(indent, "certificate", "the same as above, "+c.SerialNumber)
		return
	}
	p.shown[c.SHA256Fingerprint] = true
	subject := c.Subject
	if c.Generation != 0 {
		subject += fmt.Sprintf(" (generation %d)", c.Generation)
	}
	p.line(indent, "subject", subject)
	issuer := c.Issuer
	if c.SelfSigned {
		issuer = "itself"
	}
	p.line(indent, "issuer", issuer)
	p.line(indent, "names", strings.Join(append(append(append([]string{}, c.DNSNames...), c.IPAddresses...), c.OtherNames...), ", "))
	usages := append(append([]string{}, c.KeyUsages...), c.ExtendedKeyUsages...)
	if c.CA {
		kind := "CA"
		if c.PathLength != nil {
			kind += fmt.Sprintf(" with at most %d below", *c.PathLength)
		}
		usages = append([]string{kind}, usages...)
	}
	p.line(indent, "usages", strings.Join(usages, ", "))
	p.line(indent, "valid from", p.when(c.NotBefore))
	until := status.Plain
	if validity(p.now, c.NotBefore, c.NotAfter) != "" {
		until = status.Red
	}
	p.colored(indent, "valid until", until, p.when(c.NotAfter))
	p.line(indent, "key", c.Key+", signed with "+c.SignatureAlgorithm)
	p.line(indent, "serial", c.SerialNumber)
	p.line(indent, "key id", c.SubjectKeyID)
	p.line(indent, "issuer's id", c.AuthorityKeyID)
	p.line(indent, "fingerprint", c.SHA256Fingerprint)
}

// short shows a certificate in one line.
func (p *printer) short(indent int, c Certificate) {
	name := "certificate"
	if c.CA {
		name = "CA"
	}
	text := c.Subject
	if c.Generation != 0 {
		text += fmt.Sprintf(" (generation %d)", c.Generation)
	}
	if !c.SelfSigned {
		text += ", issued by " + c.Issuer
	}
	p.line(indent, name, text+", until "+p.when(c.NotAfter))
}

func (p *printer) chain(indent int, c Chain) {
	by := ""
	if c.CA != "" {
		by = fmt.Sprintf(", signed by generation %d of ClusterCA/%s", c.Generation, c.CA)
	}
	if !c.Valid {
		p.colored(indent, "chain", status.Red, c.Problem+by)
		return
	}
	p.colored(indent, "chain", status.Green, fmt.Sprintf("leads to %s in %s%s", c.Root, c.TrustedBy, by))
}

func (p *printer) key(indent int, name string, k Key) {
	switch {
	case k.Problem != "":
		p.colored(indent, name, status.Yellow, k.Problem)
	case k.Mismatch:
		p.colored(indent, name, status.Red, k.Kind+", fits no certificate that stands beside it; not shown")
	case len(k.Fits) > 0:
		p.line(indent, name, k.Kind+", fits "+status.Printable(strings.Join(k.Fits, ", "))+"; not shown")
	default:
		p.line(indent, name, k.Kind+"; not shown")
	}
}

func (p *printer) kubeconfig(k Kubeconfig) {
	for _, c := range k.Contexts {
		text := fmt.Sprintf("%s: user %s at cluster %s", c.Name, c.User, c.Cluster)
		if c.Namespace != "" {
			text += ", namespace " + c.Namespace
		}
		if c.Name == k.CurrentContext {
			text += ", current"
		}
		p.line(4, "context", text)
	}
	for _, c := range k.Clusters {
		p.line(4, "cluster", c.Name+": "+c.Server)
		if c.Insecure {
			p.colored(6, "insecure", status.Red, "the API server's certificate is not verified")
		}
		p.colored(6, "damage", status.Red, c.Damage)
		p.line(6, "CA file", c.CAFile)
		for _, cert := range c.Certificates {
			p.short(6, cert)
		}
	}
	for _, u := range k.Users {
		p.line(4, "user", u.Name)
		p.colored(6, "damage", status.Red, u.Damage)
		p.line(6, "certificate", u.CertificateFile)
		p.line(6, "key file", u.KeyFile)
		for i, cert := range u.Certificates {
			if i == 0 {
				p.certificate(6, cert)
			} else {
				p.short(6, cert)
			}
		}
		if u.Key != nil {
			p.key(6, "private key", *u.Key)
		}
		if len(u.Other) > 0 {
			p.line(6, "besides", strings.Join(u.Other, ", ")+"; not shown")
		}
	}
}
