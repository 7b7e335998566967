package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Answers says whether a Kubernetes API server answers at an https URL, whoever it is: it says which version it is, or that nobody may know
// that (kubernetes, apimachinery version.Info, and metav1.Status of kind 'Status'). It takes as long as Timeout at most. No answer, and any other,
// says nothing. Nothing is verified, no credential is sent, and no redirect is followed.
func (d Dialer) Answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/version", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{
		DialContext: (&net.Dialer{Control: d.control}).DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // G402: see above
	}
	c := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := c.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	var said struct{ Kind, GitVersion string }
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return err == nil && json.Unmarshal(text, &said) == nil && (said.Kind == "Status" || said.GitVersion != "")
}
