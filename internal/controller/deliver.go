package controller

import (
	"context"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/stall"
)

// taken is the time of the latest document that the host has taken, as far as it has signed that.
func (r reported) taken() time.Time {
	if r.Proof != ack.Signed {
		return zeroTime
	}
	return r.Report.DeliveryTime
}

// endpointInUse is the URL of the kubeconfig that the agent of a credential's host has seen in use: that of the document which the operator has signed last,
// once the host has taken that and nothing is left to restart; until then the one of before. err is why the visit did not come to its end.
func (r *nodeCredentials) endpointInUse(ctx context.Context, c *v1alpha1.NodeCredential, v credentialView, err error) string {
	d := v.asked.Delivery
	if d == nil || d.Held || d.Kubeconfig == nil || err != nil {
		return c.Status.Endpoint
	}
	s, err := r.secrets.Cached(ctx, c.Namespace, v.asked.Secret)
	if err != nil || s == nil {
		return c.Status.Endpoint
	}
	said := leaf.ClaimOf(v.asked.Keeper, s).Delivery
	if said == nil || c.Status.Delivery != v1alpha1.ReasonInUse || v.agent.Report.Restarting || v.agent.taken().Before(said.Time) {
		return c.Status.Endpoint
	}
	return d.Kubeconfig.Server
}

// delivered is what the agent of a credential's host is told, and the keys that the Secret must not hold for it. claim is that of the
// Secret. Where the API server that the credential is for cannot be had, that is said when its kubeconfig is rendered.
func (r *nodeCredentials) delivered(ctx context.Context, c *v1alpha1.NodeCredential, claim consumers.Claim) (*leaf.Delivery, []string, error) {
	d := &leaf.Delivery{Host: c.Spec.HostName}
	if c.Spec.Kubeconfig == nil {
		return d, []string{consumers.ServerBundleKey}, nil
	}
	api, blocked, err := r.apiServer(ctx, c)
	switch {
	case stall.Is(err), err == nil && blocked != "":
		d.Held = true
		return d, nil, nil
	case err != nil:
		return nil, nil, err
	}
	k, endpoint := c.Spec.Kubeconfig, desired.EndpointFor(c, &api)
	d.Kubeconfig = &delivery.Kubeconfig{
		Server: endpoint.URL, TLSServerName: endpoint.TLSServerName, ClusterName: k.ClusterName,
		ContextName: k.ContextName, UserName: desired.UserName(c), Namespace: k.Namespace,
	}
	if d.OwnServer = api.Spec.CARef.Name == c.Spec.CARef.Name; d.OwnServer {
		return d, nil, nil
	}
	d.Server, err = r.leaves.Read(ctx, c.Namespace, api.Spec.CARef.Name, claim.Revisions())
	return d, nil, err
}
