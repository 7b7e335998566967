package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// keyStore holds the keys that never leave the host, and the requests that were made with them, by credential.
type keyStore struct {
	dir string
	sys hostdir.System
}

// read returns the keys of the objects that have theirs on the host, by Lease. One that is missing is made: it is on the
// disk before anything is asked for with it.
func (k keyStore) read(objects []object) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, o := range objects {
		if !o.externalKey() {
			continue
		}
		text, err := k.ensure(o.cred.Name+".key", func() ([]byte, error) {
			key, err := pki.GenerateKey(o.cred.keySpec())
			if err != nil {
				return nil, err
			}
			return key.Reveal()
		})
		if err != nil {
			return nil, fmt.Errorf("the key of %s: %w", o.name, err)
		}
		out[o.lease] = text
	}
	return out, nil
}

// request is the certificate signing request for an object's key. It is made once for a key: signatures of one kind of key
// differ each time, and the Lease would change.
func (k keyStore) request(o object, key []byte) (string, error) {
	parsed, err := pki.ParsePrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("the key of %s: %w: remove %s to have another one made", o.name, err, k.path(o.cred.Name+".key"))
	}
	name := o.cred.Name + ".csr"
	if text, err := os.ReadFile(k.path(name)); err == nil {
		if csr, err := pki.ParseCSR(text); err == nil && pki.SamePublicKey(csr.PublicKey, parsed.Public()) {
			return string(text), nil
		}
	}
	text, err := pki.NewCSR(pki.CertificateSpec{Subject: o.expect.subject, Usages: o.expect.usages, Key: o.cred.keySpec(), Validity: pki.MinValidity}, parsed)
	if err == nil {
		err = k.write(name, text)
	}
	if err != nil {
		return "", fmt.Errorf("the request for %s: %w", o.name, err)
	}
	return string(text), nil
}

func (k keyStore) path(name string) string { return filepath.Join(k.dir, "keys", name) }

func (k keyStore) ensure(name string, otherwise func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(k.path(name))
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err //nolint:wrapcheck // it names the file
	}
	if text, err = otherwise(); err != nil {
		return nil, err
	}
	return text, k.write(name, text)
}

// write puts a file in its place, on the disk and in one moment.
func (k keyStore) write(name string, text []byte) error {
	return writeSecret(k.sys, k.path(name), text)
}
