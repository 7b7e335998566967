package controller

import (
	"context"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/outputs"
	"clusterpki.io/operator/internal/stall"
)

// reconcileOutputs writes the Secrets of a credential that are in the forms of other programs, from the leaf as it is. While the API server that they
// are for cannot be had, they stay as they are, which is told of the kubeconfig.
func (r *nodeCredentials) reconcileOutputs(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request, st leaf.State) error {
	if err := outputs.Distinct(c); err != nil {
		return err
	}
	var to outputServer
	if c.Spec.Kubeconfig != nil {
		var k kubeconfigState
		api, server, err := r.server(ctx, c, st, consumers.Claim{}, &k)
		if err != nil || server.Bundle == nil {
			return err
		}
		to = outputServer{&api, server.Bundle}
	}
	key, err := r.leaves.PrivateKey(l, st).Get(ctx)
	if err != nil {
		return err
	}
	w := outputs.Writer{Secrets: r.secrets, Keeper: l.Keeper, Owner: c, Controlled: true}
	for _, o := range c.Spec.Outputs {
		f, ferr := to.form(c, o, st.Observed.Leaf.CertPEM(), key)
		if ferr == nil {
			ferr = w.Write(ctx, f)
		}
		err = stall.First(err, ferr)
	}
	return err
}

// outputServer is the API server that outputs lead to.
type outputServer struct {
	*v1alpha1.APIServerCertificate
	bundle []byte
}

// form is one output of a credential.
func (s outputServer) form(c *v1alpha1.NodeCredential, o v1alpha1.CredentialOutput, cert, key []byte) (outputs.Form, error) {
	if c.Spec.Kubeconfig == nil {
		return outputs.OfPair(o, c.Spec.Role, cert, key), nil
	}
	endpoint, err := desired.OutputEndpoint(s.APIServerCertificate, o.Server)
	if err != nil {
		return outputs.Form{}, err
	}
	if o.Format == v1alpha1.OutputArgoCDCluster {
		return outputs.ArgoCDCluster{
			Name: o.ClusterName, Server: endpoint.URL, ServerName: endpoint.TLSServerName, CA: s.bundle, Cert: cert, Key: key,
		}.Form(o.SecretName(c.Spec.Role))
	}
	text, err := desired.OutputKubeconfig(c, o.ClusterName, endpoint, s.bundle, cert, key)
	if err != nil {
		return outputs.Form{}, err
	}
	return outputs.OfKubeconfig(o, c.Spec.Role, text), nil
}
