package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// ownServer is the API server of this host, asked with the credential of the host's kube-controller-manager.
type ownServer struct {
	server string       // https URL
	as     *http.Client // with that credential
	nobody *http.Client // with none
	called string       // the credential, for people
}

const (
	// accountPath is the ServiceAccount that there is in every cluster.
	accountPath = "/api/v1/namespaces/kube-system/serviceaccounts/default"
	// tokenLife is the least that an API server grants.
	tokenLife  = 10 * time.Minute
	keySetPath = "/openid/v1/jwks"
	// metadataOnly asks for lists without what the objects hold: without another form beside it, an API server sends that or refuses.
	metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	// maxAnswer bounds an answer, in bytes, and page how many objects of a list it may hold.
	maxAnswer = 32 << 20
	page      = "200"
)

// noAccess says that the API server of this host cannot be asked, and what to do.
func noAccess(format string, args ...any) error {
	return fmt.Errorf("%s: %s", v1alpha1.ReasonTargetAccessMissing, fmt.Sprintf(format, args...))
}

// notInUse says that the API server of this host was asked, and works with other keys.
func notInUse(format string, args ...any) error {
	return wrong("%s: %s", v1alpha1.ReasonNotInUse, fmt.Sprintf(format, args...))
}

// question is a request to an API server.
type question struct {
	method, path, accept, bearer string
	body                         any
}

// ask asks, and answers with a status and what was said.
func (s ownServer) ask(ctx context.Context, by *http.Client, q question) (int, []byte, error) {
	var body io.Reader
	if q.body != nil {
		text, err := json.Marshal(q.body)
		if err != nil {
			return 0, nil, fmt.Errorf("encode a question: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, strings.TrimSuffix(s.server, "/")+q.path, body)
	if err != nil {
		return 0, nil, wrong("the endpoint: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", q.accept)
	if q.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+q.bearer)
	}
	response, err := by.Do(r)
	if err != nil {
		return 0, nil, refusedOrUnreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read the API server's answer: %w", err)
	}
	if len(text) > maxAnswer {
		return 0, nil, fmt.Errorf("the API server's answer has more than %d MiB", maxAnswer>>20)
	}
	return response.StatusCode, text, nil
}

// ready says why the API server is not, as far as it tells.
func (s ownServer) ready(ctx context.Context) error {
	status, _, err := s.ask(ctx, s.as, question{method: http.MethodGet, path: "/readyz", accept: "*/*"})
	if err == nil && status >= http.StatusInternalServerError {
		err = fmt.Errorf("the API server of this host is not ready (%d)", status)
	}
	return err
}

// token has the API server issue a token, and returns it.
func (s ownServer) token(ctx context.Context) (string, error) {
	ask := authenticationv1.TokenRequest{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}}
	ask.Spec.ExpirationSeconds = new(int64(tokenLife / time.Second))
	status, text, err := s.ask(ctx, s.as, question{method: http.MethodPost, path: accountPath + "/token", accept: "application/json", body: ask})
	switch {
	case err != nil:
		return "", err
	case status == http.StatusUnauthorized:
		return "", noAccess("the API server of this host refuses the certificate of %s (401): it does not trust the CA that signed it, or that has expired",
			s.called)
	case status == http.StatusForbidden:
		return "", noAccess("with the certificate of %s no token of ServiceAccount kube-system/default may be made (403): "+
			"it needs what ClusterRole system:kube-controller-manager grants", s.called)
	case status == http.StatusNotFound:
		return "", errors.New("ServiceAccount kube-system/default does not exist yet: is kube-controller-manager running?")
	case status != http.StatusCreated && status != http.StatusOK:
		return "", fmt.Errorf("the API server of this host answers to a request for a token with status %d", status)
	}
	var answer authenticationv1.TokenRequest
	if json.Unmarshal(text, &answer) != nil || answer.Status.Token == "" { // the error may quote it
		return "", errors.New("the API server of this host answers to a request for a token with something else")
	}
	return answer.Status.Token, nil
}

// keyOf is the ID of the key that signed a token.
func keyOf(token string) (string, error) {
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		KeyID string `json:"kid"`
	}
	if err != nil || json.Unmarshal(text, &header) != nil || header.KeyID == "" {
		return "", errors.New("the token that the API server of this host issues does not say which key signed it")
	}
	return header.KeyID, nil
}

// keySet are the IDs of the keys by which the API server verifies tokens, in its order. It is asked with a token that it has issued, which every
// API server lets read them.
func (s ownServer) keySet(ctx context.Context, token string) ([]string, error) {
	status, text, err := s.ask(ctx, s.nobody, question{
		method: http.MethodGet, path: keySetPath, accept: "application/jwk-set+json, application/json", bearer: token,
	})
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusUnauthorized:
		return nil, notInUse("the API server of this host refuses the token that it has just issued (401): the key that it signs by is none of those " +
			"that it accepts: do --service-account-signing-key-file and --service-account-key-file name pki/sa.key and pki/sa.pub?")
	case status == http.StatusForbidden:
		return nil, noAccess("a token of ServiceAccount kube-system/default may not read %s (403): "+
			"ClusterRoleBinding system:service-account-issuer-discovery is missing, which every API server makes when it starts", keySetPath)
	case status == http.StatusNotFound:
		return nil, noAccess("the API server of this host serves no %s (404): its --service-account-issuer must be an https URL", keySetPath)
	case status != http.StatusOK:
		return nil, fmt.Errorf("the API server of this host answers to %s with status %d", keySetPath, status)
	}
	var set struct {
		Keys []struct {
			KeyID string `json:"kid"`
		} `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil {
		return nil, fmt.Errorf("the API server of this host answers to %s with something else", keySetPath)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.KeyID)
	}
	return ids, nil
}

// tokenSecrets are the Secrets of type kubernetes.io/service-account-token that were made before a time, as 'namespace/name'. Nothing that they hold
// gets here.
func (s ownServer) tokenSecrets(ctx context.Context, before time.Time) ([]string, error) {
	var out []string
	next := ""
	for {
		query := url.Values{"fieldSelector": {"type=" + string(corev1.SecretTypeServiceAccountToken)}, "limit": {page}, "continue": {next}}
		status, text, err := s.ask(ctx, s.as, question{method: http.MethodGet, path: "/api/v1/secrets?" + query.Encode(), accept: metadataOnly})
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return nil, noAccess("with the certificate of %s Secrets may not be listed (%d): it needs what ClusterRole system:kube-controller-manager grants",
				s.called, status)
		case status != http.StatusOK:
			return nil, fmt.Errorf("the API server of this host answers to a list of Secrets with status %d", status)
		}
		var list metav1.PartialObjectMetadataList
		if json.Unmarshal(text, &list) != nil || list.Kind != "PartialObjectMetadataList" {
			return nil, errors.New("the API server of this host answers to a list of Secrets with something else")
		}
		for i := range list.Items {
			if o := &list.Items[i]; o.CreationTimestamp.Time.Before(before) {
				out = append(out, o.Namespace+"/"+o.Name)
			}
		}
		if next = list.Continue; next == "" {
			return out, nil
		}
	}
}
