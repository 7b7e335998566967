package kubeconfig

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/test/files"
)

// FuzzParseCurrent reads any kubeconfig: where client-go reads it too, both find the same server and the same user.
func FuzzParseCurrent(f *testing.F) {
	names, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(files.Read(f, "kubelet.conf"))
	f.Add([]byte("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: s}}]\nusers: [{name: u, user: {}}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCurrent(text)
		if err != nil {
			return
		}
		k, err := clientcmd.Load(text)
		if err != nil {
			return // client-go knows more fields, and their types
		}
		context := k.Contexts[k.CurrentContext]
		if context == nil || k.Clusters[context.Cluster] == nil {
			t.Fatalf("client-go finds no context %q", k.CurrentContext)
		}
		if got, want := c.Server, k.Clusters[context.Cluster].Server; got != want {
			t.Errorf("the server is %q, and to client-go %q", got, want)
		}
		if _, has := k.AuthInfos[context.AuthInfo]; has != c.HasUser {
			t.Errorf("the user %q is there: %v, and to client-go %v", context.AuthInfo, c.HasUser, has)
		}
	})
}
