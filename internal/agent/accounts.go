package agent

import (
	"errors"
	"fmt"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
)

// errUnnamed is of public keys that a document does not name: the operator writes them before it names them, or somebody else has changed them.
var errUnnamed = errors.New("is not the one that the operator has signed for this host")

// accountsSecret is the Secret of the service account keys of an API server, "" where it has none from there.
func (o object) accountsSecret() string {
	if o.api == nil {
		return ""
	}
	return o.api.ServiceAccountSecretName
}

// accountsContent is how its public keys are called in ack.State.
func (o object) accountsContent() string {
	return ack.ContentKey(o.accountsSecret(), ack.PublicKeysKey)
}

// serviceAccounts are the service account keys that the operator has signed for this host. Those that are installed stay, whatever the Secret holds, as
// long as they are the ones: there the next ones lie before this host's turn has come to restart its API server with them.
func (d delivered) serviceAccounts(o object, f facts) (map[string][]byte, error) {
	name, named := o.accountsSecret(), d.ServiceAccounts
	if named == nil {
		return nil, invalid(name, "the operator has not signed its service account keys: see the status of %s", o.name)
	}
	if installed := installedAccounts(f.current); delivery.DigestOf(installed[export.PublicKeys]) == named.SHA256 && signs(installed) == nil {
		return installed, nil
	}
	s, err := f.secret(name)
	if err != nil {
		return nil, err
	}
	private, public := s.Data[export.SigningKey], s.Data[export.PublicKeys]
	if delivery.DigestOf(public) != named.SHA256 {
		return nil, fmt.Errorf("%s: Secret %q: its %s %w: somebody else has changed it, or the operator is about to write it",
			v1alpha1.ReasonSignatureInvalid, name, export.PublicKeys, errUnnamed)
	}
	if len(private) > maxPrivateKey {
		return nil, invalid(name, "its %s has more than %d bytes", export.SigningKey, maxPrivateKey)
	}
	keys := map[string][]byte{export.SigningKey: alone(private), export.PublicKeys: public}
	if err := signs(keys); err != nil {
		return nil, invalid(name, "its %v", err)
	}
	return keys, nil
}

// signs says why keys do not belong together: the private one must be that of the first public one, which is signed.
func signs(keys map[string][]byte) error {
	return export.SignsByFirst(keys[export.SigningKey], keys[export.PublicKeys])
}

// installedAccounts are the service account keys among the files of a set.
func installedAccounts(set hostdir.Set) map[string][]byte {
	keys := map[string][]byte{}
	for _, f := range set.Files {
		switch f.Path {
		case hostfiles.ServiceAccKey:
			keys[export.SigningKey] = f.Data
		case hostfiles.ServiceAccPub:
			keys[export.PublicKeys] = f.Data
		}
	}
	return keys
}
