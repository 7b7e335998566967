package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/load"
)

const (
	// tokenEvery is how often the load gets another token, as a kubelet fetches one for a pod.
	tokenEvery = 30 * time.Second
	// tokenPatience is how long none may be had.
	tokenPatience = 2 * time.Minute
)

// token is that of a service account.
type token struct {
	text string
	at   time.Time
}

// account is whose tokens the load uses.
var account = corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: defaultNamespace, Name: "default"}}

// tokenFile is where the load finds its token.
func (d *demo) tokenFile() string { return filepath.Join(d.work, "load", "token") }

// startMastersLoad puts the load balancer under load: by certificates, and by a token of a service account.
func (d *demo) startMastersLoad(ctx context.Context) error {
	if err := d.prepareToken(ctx); err != nil {
		return err
	}
	var identities []load.Identity
	for _, id := range d.identities() {
		if id.Name == "kube-controller-manager" || id.Name == "kube-scheduler" || // which use the API server beside them alone
			d.Hosts && strings.HasSuffix(id.Name, " of "+d.renewed().host) { // which goes and comes
			continue
		}
		identities = append(identities, id)
	}
	const services = "/api/v1/namespaces/default/services"
	identities = append(identities, load.Identity{
		Name: "service account", Kubeconfig: filepath.Join(filepath.Dir(d.tokenFile()), "token.conf"), Get: services, Watch: services,
	})
	if err := d.beginLoad(ctx, identities, load.Options{Every: 200 * time.Millisecond, ServersRestart: true}); err != nil {
		return err
	}
	d.say("each through the load balancer, on fresh TLS connections, 5 a second, and once a second by a client-go client that holds a watch open")
	return d.calm(ctx)
}

// prepareToken lets a service account read, and writes a kubeconfig with a token of it.
func (d *demo) prepareToken(ctx context.Context) error {
	admin, err := d.newAdmin()
	if err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: "load"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	if err := admin.Create(ctx, binding); err != nil {
		return fmt.Errorf("let the service account read: %w", err)
	}
	c := clientcmdapi.NewConfig()
	ca := filepath.Join(d.host(d.places.nodes[0].host).Directory, hostfiles.CA)
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: d.places.endpoint(), CertificateAuthority: ca}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{TokenFile: d.tokenFile()}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*c, filepath.Join(filepath.Dir(d.tokenFile()), "token.conf")); err != nil {
		return fmt.Errorf("write the kubeconfig of a service account: %w", err)
	}
	d.token.at = d.Clock.Now().Add(-tokenEvery)
	if err := d.freshToken(); err != nil {
		return err
	}
	if d.token.text == "" {
		return errors.New("there is no token of a service account")
	}
	return nil
}

// freshToken puts another token into the place of one that is older than tokenEvery.
func (d *demo) freshToken() error {
	now := d.Clock.Now()
	if d.token.at.IsZero() || now.Sub(d.token.at) < tokenEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) //nolint:forbidigo // it ends by itself
	defer cancel()
	text, err := d.issueToken(ctx)
	if err != nil {
		if now.Sub(d.token.at) > tokenPatience {
			return err
		}
		return nil // asked again in a second
	}
	temporary := d.tokenFile() + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write a token: %w", err)
	}
	if err := os.Rename(temporary, d.tokenFile()); err != nil {
		return fmt.Errorf("write a token: %w", err)
	}
	d.token = token{text, now}
	return nil
}

// issueToken has an API server issue a token.
func (d *demo) issueToken(ctx context.Context) (string, error) {
	admin, err := d.newAdmin()
	if err != nil {
		return "", err
	}
	var issued authenticationv1.TokenRequest
	if err := admin.SubResource("token").Create(ctx, account.DeepCopy(), &issued); err != nil { //nolint:forbidigo // a token, and no status
		return "", fmt.Errorf("get a token: %w", err)
	}
	return issued.Status.Token, nil
}

// accepts says whether the API server of a master accepts a token.
func (d *demo) accepts(ctx context.Context, master, token string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(d.host(master).Directory, hostfiles.CA))
	if err != nil {
		return false, fmt.Errorf("read the CA: %w", err)
	}
	config, err := trusting(text)
	if err != nil {
		return false, err
	}
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.places.serverOf(master)+"/api/v1/namespaces/default/services", http.NoBody)
	if err != nil {
		return false, fmt.Errorf("ask: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := c.Do(request)
	if err != nil {
		return false, fmt.Errorf("ask the API server of %s: %w", master, err)
	}
	defer answer.Body.Close() //nolint:errcheck // nothing was written
	switch answer.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized:
		return false, nil
	default:
		return false, fmt.Errorf("the API server of %s answers %d", master, answer.StatusCode)
	}
}

// everywhere says whether each API server accepts a token, or each refuses it.
func (d *demo) everywhere(ctx context.Context, token string, accepted bool) error {
	var problems error
	for _, m := range d.places.masters {
		got, err := d.accepts(ctx, m.host, token)
		if err == nil && got != accepted {
			err = fmt.Errorf("the API server of %s: accepted is %t, and should be %t", m.host, got, accepted)
		}
		problems = errors.Join(problems, err)
	}
	return problems
}
