package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
)

// System is the namespace that the manifests run the operator in.
const System = "clusterpki-system"

// Installation is what manifests give the operator: rights, and the settings that go with them.
type Installation struct {
	Config  *rest.Config // the connection of its ServiceAccount
	Options controller.Options
}

// Kubectl runs kubectl as the administrator, in the repository's root.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	config, err := c.KubeconfigFile()
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.BinaryAssetsDirectory, "kubectl"), append([]string{"--kubeconfig", config}, args...)...)
	cmd.Dir = Root()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String(), errs.String(), nil
}

// KubeconfigFile is the administrator's kubeconfig.
func (c *ControlPlane) KubeconfigFile() (string, error) {
	file := filepath.Join(c.dir, "kubeconfig")
	if err := os.WriteFile(file, c.KubeConfig, 0o600); err != nil {
		return "", fmt.Errorf("write a kubeconfig: %w", err)
	}
	return file, nil
}

// Install applies config/default, whose Deployment nothing runs here: its operator is started by StartOperator.
func (c *ControlPlane) Install(ctx context.Context) (Installation, error) {
	if _, _, err := c.Kubectl(ctx, "apply", "-k", "config/default"); err != nil {
		return Installation{}, err
	}
	_, _, err := c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	return c.Installed(), err
}

// Installed is what config/default gives the operator where it is applied.
func (c *ControlPlane) Installed() Installation {
	return Installation{As(c.Config, System, "clusterpki"), controller.Options{OwnNamespace: System}}
}

// Operate applies config/default, and runs the operator under its rights until the control plane is stopped.
func (c *ControlPlane) Operate(ctx context.Context) error {
	installed, err := c.Install(ctx)
	if err != nil {
		return err
	}
	installed.Options.Poll = 200 * time.Millisecond
	operator, err := StartOperator(installed.Config, installed.Options)
	if err == nil {
		c.Finally(operator.Stop)
	}
	return err
}

// InstallFor gives an operator for one namespace what config/namespaced and config/authority give it, in namespaces of other
// names: so many operators share a control plane. What is there already stays as it is.
func (c *ControlPlane) InstallFor(ctx context.Context, served, authority string) (Installation, error) {
	own := authority + "-operator"
	i := Installation{As(c.Config, own, "clusterpki"), controller.Options{Namespace: served, AuthorityNamespace: authority, OwnNamespace: own}}
	text, err := c.namespaced(ctx)
	if err != nil {
		return i, err
	}
	text = strings.NewReplacer(System+"-authority", authority, System, own, "namespace: prod\n", "namespace: "+served+"\n").Replace(text)
	api, err := Client(c.Config)
	if err != nil {
		return i, err
	}
	for decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return i, i.effective(ctx)
		} else if err != nil {
			return i, fmt.Errorf("read config/namespaced: %w", err)
		}
		if !slices.Contains(rights, o.GetKind()) {
			continue
		}
		if o.GetNamespace() == served { // where another operator may be bound too
			o.SetName(own)
		}
		if err := api.Create(ctx, &o); err != nil && !apierrors.IsAlreadyExists(err) {
			return i, fmt.Errorf("install the operator for namespace %s: %w", served, err)
		}
	}
}

// rights are the kinds of what an operator that runs in this process needs of its manifests.
var rights = []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}

// rendered are the manifests of InstallFor, which do not change while a program runs.
var rendered struct {
	sync.Mutex
	text string
}

func (c *ControlPlane) namespaced(ctx context.Context) (string, error) {
	rendered.Lock()
	defer rendered.Unlock()
	if rendered.text != "" {
		return rendered.text, nil
	}
	var all []string
	for _, folder := range []string{"config/namespaced", "config/authority"} {
		text, _, err := c.Kubectl(ctx, "kustomize", folder)
		if err != nil {
			return "", err
		}
		all = append(all, text)
	}
	rendered.text = strings.Join(all, "\n---\n")
	return rendered.text, nil
}

// effective waits until the API server knows of the rights: an operator that starts before that waits for a second or two.
func (i Installation) effective(ctx context.Context) error {
	as, err := Client(i.Config)
	if err != nil {
		return err
	}
	return wait(ctx, often/5, func() error {
		var errs []error
		for _, namespace := range []string{i.Options.Namespace, i.Options.AuthorityNamespace} {
			errs = append(errs, as.List(ctx, &corev1.SecretList{}, client.InNamespace(namespace), client.Limit(1)))
		}
		errs = append(errs, as.List(ctx, &corev1.ServiceAccountList{}, client.InNamespace(i.Options.OwnNamespace+"-agents"), client.Limit(1)))
		return errors.Join(errs...)
	})
}
