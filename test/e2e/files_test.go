package e2e_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/backup"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/records"
)

var update = flag.Bool("update", false, "write the files of this run to test/files, which fuzz targets begin with")

// keepFiles writes what the operator and the agent of a host have written to test/files. No private key gets there.
func (h *host) keepFiles(lease string) {
	h.t.Helper()
	if !*update {
		return
	}
	home := controller.DefaultAuthorityNamespace
	h.keep("lease.yaml", &coordinationv1.Lease{}, namespace, lease)
	h.keep("credential.yaml", &corev1.Secret{}, namespace, lease)
	h.keep("authority.yaml", &corev1.Secret{}, home, authority.SecretName(namespace, "k8s"))
	h.keep("issued.yaml", &corev1.Secret{}, home, records.SecretName(namespace, 0))
	h.keep("delivery.yaml", &corev1.ConfigMap{}, home, authority.DeliveryName(namespace))
	set, err := hostdir.New(h.config.Directory, hostdir.Options{}).Current()
	if err != nil {
		h.t.Fatal(err)
	}
	h.keepText("record.json", set.Note)
	h.keepText("kubelet.conf", h.read("kubelet.conf"))
	source := backup.Source{Reader: shared.management, Namespace: namespace, AuthorityNamespace: home, WithoutKeys: true}
	objects, err := source.Gather(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := backup.Render(objects)
	if err != nil {
		h.t.Fatal(err)
	}
	h.keepText("backup.yaml", text)
}

// keep writes an object without what is secret, and without what the API server notes for itself.
func (h *host) keep(file string, o client.Object, namespace, name string) {
	h.t.Helper()
	if err := shared.management.Get(h.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
		h.t.Fatal(err)
	}
	o.SetManagedFields(nil)
	if s, ok := o.(*corev1.Secret); ok {
		maps.DeleteFunc(s.Data, func(key string, _ []byte) bool { return strings.HasSuffix(key, ".key") })
	}
	text, err := yaml.Marshal(o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.keepText(file, text)
}

func (h *host) keepText(file string, text []byte) {
	h.t.Helper()
	if strings.Contains(string(text), "PRIVATE KEY") {
		h.t.Fatalf("%s holds a private key", file)
	}
	if err := os.WriteFile(filepath.Join("..", "files", file), text, 0o644); err != nil {
		h.t.Fatal(err)
	}
}
