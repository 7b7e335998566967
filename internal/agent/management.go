package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// secretsAPI are the Secrets of the host's namespace. None is listed: a host may not.
type secretsAPI interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// leasesAPI are the Leases of the host's namespace.
type leasesAPI interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// tokensAPI makes tokens of a ServiceAccount.
type tokensAPI interface {
	CreateToken(ctx context.Context, of account, ask *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error)
}

// The three kinds that an agent asks a management cluster for. client-go's typed clients bring every kind of Kubernetes along: 10 MB more of program.
var (
	kinds  = newKinds()
	codecs = serializer.NewCodecFactory(kinds).WithoutConversion()
	params = runtime.NewParameterCodec(kinds)
)

func newKinds() *runtime.Scheme {
	s := runtime.NewScheme()
	core, coordination := corev1.SchemeGroupVersion, coordinationv1.SchemeGroupVersion
	s.AddKnownTypes(core, &corev1.Secret{})
	s.AddKnownTypes(coordination, &coordinationv1.Lease{})
	s.AddKnownTypes(authenticationv1.SchemeGroupVersion, &authenticationv1.TokenRequest{})
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.Status{})
	for _, v := range []schema.GroupVersion{core, coordination, authenticationv1.SchemeGroupVersion} {
		metav1.AddToGroupVersion(s, v)
	}
	return s
}

// restClient is a client of one API group.
func restClient(cfg *rest.Config, client *http.Client, of schema.GroupVersion) (rest.Interface, error) {
	c := rest.CopyConfig(cfg)
	c.GroupVersion, c.NegotiatedSerializer, c.APIPath = &of, codecs, "/apis"
	if of.Group == corev1.GroupName {
		c.APIPath = "/api"
	}
	out, err := rest.RESTClientForConfigAndClient(c, client)
	if err != nil {
		return nil, fmt.Errorf("a client of %s: %w", of, err)
	}
	return out, nil
}

// secretsClient implements secretsAPI, and leasesClient leasesAPI.
type (
	secretsClient struct {
		rest.Interface
		namespace string
	}
	leasesClient struct {
		rest.Interface
		namespace string
	}
)

// Get reads a Secret.
func (c secretsClient) Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error) {
	out := &corev1.Secret{}
	err := c.Interface.Get().Namespace(c.namespace).Resource("secrets").Name(name).VersionedParams(&o, params).Do(ctx).Into(out)
	return out, err //nolint:wrapcheck // callers look at what it is
}

// Watch watches Secrets.
func (c secretsClient) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return c.Interface.Get().Namespace(c.namespace).Resource("secrets").VersionedParams(&o, params).Watch(ctx) //nolint:wrapcheck // as above
}

var errNoToken = errors.New("the API server answers to a request for a token with something else")

// CreateToken implements tokensAPI.
func (c secretsClient) CreateToken(ctx context.Context, of account, ask *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	text, err := c.Post().Namespace(of.namespace).Resource("serviceaccounts").Name(of.name).SubResource("token").Body(ask).Do(ctx).Raw()
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	out := &authenticationv1.TokenRequest{}
	if json.Unmarshal(text, out) != nil { // its error may quote the token
		return nil, errNoToken
	}
	return out, nil
}

// Get reads a Lease.
func (c leasesClient) Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error) {
	out := &coordinationv1.Lease{}
	err := c.Interface.Get().Namespace(c.namespace).Resource("leases").Name(name).VersionedParams(&o, params).Do(ctx).Into(out)
	return out, err //nolint:wrapcheck // as above
}

// Update writes a Lease.
func (c leasesClient) Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	out := &coordinationv1.Lease{}
	err := c.Put().Namespace(c.namespace).Resource("leases").Name(l.Name).VersionedParams(&o, params).Body(l).Do(ctx).Into(out)
	return out, err //nolint:wrapcheck // as above
}
