package target

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"clusterpki.io/operator/internal/hostfiles"
)

// The usual ports of a node's components.
const (
	KubeletPort = 10250
	ProxyPort   = 10256
)

// StartKubelet starts a hollow kubelet on a host. Its pods get addresses of the given subnet.
func (r *Runner) StartKubelet(h Host, at Place, podSubnet string) error {
	root := filepath.Join(r.Data, h.Name)
	if err := os.MkdirAll(root, 0o750); err != nil {
		return fmt.Errorf("prepare host %s: %w", h.Name, err)
	}
	return r.start(h, "kubelet", "hollow-node", "--morph=kubelet", "--root-dir="+root,
		"--address="+at.Address, "--port="+strconv.Itoa(at.Port), "--pod-subnet="+podSubnet)
}

// StartProxy starts a hollow kube-proxy on a host.
func (r *Runner) StartProxy(h Host, at Place) error {
	return r.start(h, "kube-proxy", "hollow-node", "--morph=proxy",
		"--address="+at.Address, "--port="+strconv.Itoa(at.Port))
}

// ProxyHealthy says whether a kube-proxy has seen all Services and EndpointSlices.
func (*Runner) ProxyHealthy(ctx context.Context, at Place) error {
	return get(ctx, http.DefaultClient, "http://"+at.hostPort(ProxyPort)+"/healthz")
}

// KubeletAnswers says whether a kubelet serves a certificate that the API server's host verifies, answers
// the API server's own identity, and turns away a client without one.
func KubeletAnswers(ctx context.Context, master Host, at Place) error {
	url := "https://" + at.hostPort(KubeletPort) + "/pods"
	identified, err := master.client(hostfiles.ForRole("APIServerKubeletClient", ""), "pki/kubelet-ca.crt")
	if err != nil {
		return err
	}
	if err := get(ctx, identified, url); err != nil {
		return err
	}
	stranger, err := master.client(hostfiles.Files{}, "pki/kubelet-ca.crt")
	if err != nil {
		return err
	}
	if err := get(ctx, stranger, url); err == nil {
		return fmt.Errorf("%s answers a client without a certificate", url)
	}
	return nil
}
