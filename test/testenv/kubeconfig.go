package testenv

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
)

// KubeconfigAs is somebody's kubeconfig as a ServiceAccount, with its permissions and no more, for a program of its own.
func KubeconfigAs(kubeconfig []byte, namespace, account string) ([]byte, error) {
	cfg, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	for _, user := range cfg.AuthInfos {
		user.Impersonate = "system:serviceaccount:" + namespace + ":" + account
		user.ImpersonateGroups = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	}
	text, err := clientcmd.Write(*cfg)
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig: %w", err)
	}
	return text, nil
}
