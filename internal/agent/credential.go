package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"clusterpki.io/operator/internal/hostdir"
)

// bearer says a token. Whatever prints it prints an address.
type bearer func() string

// account is a ServiceAccount.
type account struct{ namespace, name string }

// lifetime is from when until when a credential is granted, by the API server's clock. One without an end has the zero value.
type lifetime struct{ issued, expires time.Time }

// third is a third of what was granted.
func (l lifetime) third() time.Duration { return l.expires.Sub(l.issued) / 3 }

// renewAt is when to renew it: when a third of its life is over, and for each host up to a tenth of that later, so that a thousand hosts do not
// renew at once.
func (l lifetime) renewAt(seed uint32) time.Time {
	third := l.third()
	return l.issued.Add(third + third/10*time.Duration(seed%100)/100).Truncate(time.Second)
}

// expiringAt is from when on there is less than a third of it left; never, where it has no end.
func (l lifetime) expiringAt() time.Time {
	if l.expires.IsZero() {
		return time.Time{}
	}
	return l.expires.Add(-l.third()).Truncate(time.Second)
}

// expiring says whether less than a third of it is left.
func (l lifetime) expiring(now time.Time) bool {
	at := l.expiringAt()
	return !at.IsZero() && !now.Before(at)
}

// credential is what the agent shows to a management cluster.
type credential struct {
	// renewed: the agent has got it itself. The other kind is the one that its kubeconfig brings.
	renewed bool
	token   bearer
	account account
	lifetime
}

// own says whether there is a ServiceAccount of which the agent can ask for another token.
func (c credential) own() bool { return c.account.name != "" }

// renewAt is when to ask for the next one: for what a kubeconfig brings at once, since nobody knows how long the host will be on.
func (c credential) renewAt(seed uint32) time.Time {
	if !c.renewed {
		return time.Time{}
	}
	return c.lifetime.renewAt(seed)
}

// better says whether one credential is to be tried before another: the one that was issued later.
func (c credential) better(than credential) bool { return c.issued.After(than.issued) }

// seedOf spreads what many hosts do: it is the same for a host each time.
func seedOf(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // it never fails
	return h.Sum32()
}

// credentialOf reads what a token says of itself. Nobody verifies it here: it is this agent's own, and the API server decides.
func credentialOf(token string) credential {
	c := credential{token: func() string { return token }}
	var claims struct {
		Subject string `json:"sub"`
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return c
	}
	if of, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:"); ok {
		c.account.namespace, c.account.name, _ = strings.Cut(of, ":")
	}
	if claims.Issued > 0 && claims.Expires > claims.Issued {
		c.lifetime = lifetime{time.Unix(claims.Issued, 0).UTC(), time.Unix(claims.Expires, 0).UTC()}
	}
	return c
}

// firstCredential is the one that a kubeconfig brings.
func firstCredential(cfg *rest.Config) (credential, error) {
	token := cfg.BearerToken
	if cfg.BearerTokenFile != "" {
		text, err := os.ReadFile(cfg.BearerTokenFile)
		if err != nil {
			return credential{}, fmt.Errorf("read tokenFile: %w", err)
		}
		token = string(text)
	}
	return credentialOf(strings.TrimSpace(token)), nil
}

// issuer is whose credentials are whose: a renewed one is shown only where it was got.
type issuer struct {
	Server   string `json:"server"`
	CASHA256 string `json:"caSHA256,omitempty"` // none: the CAs of the host verify it
}

func issuerOf(cfg *rest.Config) issuer {
	ca := bytes.TrimSpace(cfg.CAData)
	if len(ca) == 0 {
		return issuer{Server: cfg.Host}
	}
	sum := sha256.Sum256(ca)
	return issuer{cfg.Host, hex.EncodeToString(sum[:])}
}

// same says whether it is the same management cluster: by its URL or its CA, of which one may have changed. Two that the CAs of the host verify have no CA
// in common by that.
func (i issuer) same(as issuer) bool {
	return i.Server == as.Server || i.CASHA256 != "" && i.CASHA256 == as.CASHA256
}

// credentialStore holds the credentials that the agent has got itself, a file for each management cluster.
type credentialStore struct {
	dir string
	sys hostdir.System
}

// stored is the file.
type stored struct {
	Issuer  issuer    `json:"issuer"`
	Token   string    `json:"token"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

func (s credentialStore) path(cluster string) string {
	return filepath.Join(s.dir, "credentials", cluster+".json")
}

// read returns the credential for a management cluster, none where there is none that was got there.
func (s credentialStore) read(cluster string, from issuer) (credential, bool, error) {
	text, err := os.ReadFile(s.path(cluster))
	if errors.Is(err, fs.ErrNotExist) {
		return credential{}, false, nil
	}
	var f stored
	if err == nil && json.Unmarshal(text, &f) != nil { // its error may quote the token
		err = fmt.Errorf("%s is damaged", s.path(cluster))
	}
	if err != nil {
		return credential{}, false, fmt.Errorf("read the renewed credential: %w", err)
	}
	c := credentialOf(f.Token)
	c.renewed, c.lifetime = true, lifetime{f.Issued, f.Expires}
	return c, from.same(f.Issuer) && c.own(), nil
}

// write puts a credential on the disk, in one moment.
func (s credentialStore) write(cluster string, from issuer, c credential) error {
	text, err := json.Marshal(stored{Issuer: from, Token: c.token(), Issued: c.issued, Expires: c.expires})
	if err != nil {
		return fmt.Errorf("encode the renewed credential: %w", err)
	}
	return writeSecret(s.sys, s.path(cluster), text)
}

// writeSecret puts a file that only its owner may read in its place, on the disk and in one moment.
func writeSecret(sys hostdir.System, name string, text []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("prepare %s: %w", dir, err)
	}
	next := filepath.Join(dir, "."+filepath.Base(name))
	err := os.Remove(next)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = sys.Write(next, text, 0o600, nil)
	}
	if err == nil {
		err = sys.Rename(next, name)
	}
	if err == nil {
		err = sys.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
