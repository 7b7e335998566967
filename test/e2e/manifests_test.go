package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"clusterpki.io/operator/config"
)

// decode reads the objects of one of the project's manifests; of a kustomization, none.
func decode(name string) ([]*unstructured.Unstructured, error) {
	file, err := config.Files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := utilyaml.NewYAMLOrJSONDecoder(file, 4096)
	var out []*unstructured.Unstructured
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 && o.GetKind() != "Kustomization" {
			out = append(out, &o)
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(master, "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// handshake connects to an address and verifies the server under a name.
func handshake(ca *x509.Certificate, address, name string) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return conn.Close()
}
