package agent

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki/keyring"
)

// ownServer is how to ask the API server of this host. Its certificate was verified before, whatever leads to it.
func (a *Agent) ownServer(o object) (ownServer, error) {
	i := slices.IndexFunc(a.objects, func(c object) bool { return c.cred != nil && c.cred.Role == "ControllerManager" })
	if i < 0 { // one identity CN=HOST may serve every component
		i = slices.IndexFunc(a.objects, func(c object) bool { return c.hasKubeconfig() && c.cred.Role == "Host" })
	}
	if i < 0 {
		return ownServer{}, noAccess("nothing on this host shows which service account keys its API server uses: add a NodeCredential of role " +
			"ControllerManager for it, and make its agent's configuration anew")
	}
	manager := a.objects[i]
	at := manager.places()
	own := access{server: o.api.Endpoint}
	for _, f := range []struct {
		path string
		into *[]byte
	}{{at.Certificate, &own.cert}, {at.Key, &own.key}, {hostfiles.CA, &own.ca}} {
		var err error
		if *f.into, err = a.dir.ReadFile(f.path); err != nil {
			return ownServer{}, noAccess("what %s needs is not installed: %v", manager.name, err)
		}
	}
	as, err := own.client()
	if err != nil {
		return ownServer{}, err
	}
	nobody, err := access{server: own.server, ca: own.ca}.client()
	return ownServer{server: own.server, as: as, nobody: nobody, called: manager.name}, err
}

// proveAccounts says why the API server of this host was not seen to use the service account keys that lie on the disk. It reads them only when it
// starts: from then on it lists them in the order of sa.pub (Kubernetes 1.37 and before), and signs by the first.
func (a *Agent) proveAccounts(ctx context.Context, o object) error {
	text, err := a.dir.ReadFile(hostfiles.ServiceAccPub)
	if err != nil {
		return fmt.Errorf("what is installed: %w", err)
	}
	keys, err := keyring.ParsePublic(text)
	if err != nil {
		return wrong("%s: %w", hostfiles.ServiceAccPub, err)
	}
	want, err := keyIDs(keys)
	if err != nil {
		return wrong("%s: %w", hostfiles.ServiceAccPub, err)
	}
	s, err := a.ownServer(o)
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		return err
	}
	token, err := s.token(ctx)
	if err != nil {
		return err
	}
	signer, err := keyOf(token)
	switch {
	case err != nil:
		return err
	case signer != want[0]:
		return notInUse("the API server of this host signs service account tokens by key %.64q, and not by %s, which is installed as %s: "+
			"was it restarted, and does it read that file?", signer, want[0], hostfiles.ServiceAccKey)
	}
	got, err := s.keySet(ctx, token)
	if err == nil && !slices.Equal(got, want) {
		err = notInUse("the API server of this host accepts service account tokens of the keys %.256q, and %s holds %s: "+
			"was it restarted, and does it read that file, and no other one?", strings.Join(got, ", "), hostfiles.ServiceAccPub, strings.Join(want, ", "))
	}
	return err
}

func keyIDs(keys []crypto.PublicKey) ([]string, error) {
	var out []string
	for _, k := range keys {
		id, err := keyring.KeyID(k)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// seen is what of an object's state was seen in use: all, but for service account keys that its API server was not seen with, and why. Those that it was
// seen with last count on while nobody answers. Nothing else of the object waits for them.
func (a *Agent) seen(ctx context.Context, o object, state, last ack.State) (ack.State, error) {
	content := o.accountsContent()
	if state.Contents[content] == "" {
		return state, nil
	}
	err := a.proveAccounts(ctx, o)
	if err == nil {
		return state, nil
	}
	state.Contents = maps.Clone(state.Contents)
	delete(state.Contents, content)
	if was := last.Contents[content]; was != "" && !isWrong(err) {
		state.Contents[content] = was
	}
	return state, err
}

const (
	// listAgain is how often Secrets whose tokens never end are listed, and listRetry how soon again when that has failed.
	listAgain = 5 * time.Minute
	listRetry = time.Minute
)

// tokens are the Secrets whose tokens never end, as they were last listed.
type tokens struct {
	list *ack.Tokens // nil: nobody needs to know
	due  time.Time
	text string // why they could not be listed
}

// listTokens lists them, where an earlier key signed some once and is trusted still, and answers when to list them again.
func (a *Agent) listTokens(ctx context.Context) time.Time {
	i := slices.IndexFunc(a.objects, func(o object) bool { return o.accountsSecret() != "" })
	if i < 0 || a.switchedAt.IsZero() {
		a.tokens = tokens{}
		return time.Time{}
	}
	now := a.clock.Now()
	if a.tokens.list == nil || !a.tokens.list.Before.Equal(a.switchedAt) {
		a.tokens = tokens{list: &ack.Tokens{Before: a.switchedAt}}
	}
	if now.Before(a.tokens.due) {
		return a.tokens.due
	}
	var names []string
	s, err := a.ownServer(a.objects[i])
	if err == nil {
		names, err = s.tokenSecrets(ctx, a.switchedAt)
	}
	if err != nil { // what was listed before still holds: none of them can have come since
		if a.tokens.text != err.Error() {
			a.log.Info("Could not list the tokens that never end", "problem", err.Error())
		}
		a.tokens.text, a.tokens.due = err.Error(), now.Add(listRetry)
		return a.tokens.due
	}
	a.tokens = tokens{list: &ack.Tokens{Listed: true, Before: a.switchedAt, Count: len(names), Names: names}, due: now.Add(listAgain)}
	return a.tokens.due
}
