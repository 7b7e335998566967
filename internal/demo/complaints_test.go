package demo

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestComplaints(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const refused = `E1123 authentication.go:75] "Unable to authenticate the request" err="x509: certificate signed by unknown authority"`
	write("a-kube-apiserver.log", refused+"\nbefore\n")
	write(managerLog+".log", "")
	sizes, err := logSizes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := complaints(sizes); err != nil || len(got) > 0 {
		t.Errorf("complaints of before: %v (%v)", got, err)
	}
	write(managerLog+".log", refused+"\n")
	write("a-kube-apiserver.log", "I1123 Loaded a new cert/key pair\n"+refused+"\n2026 http: TLS handshake error from 127.0.0.1:1: EOF") // not ended yet
	got, err := complaints(sizes)
	want := []string{"a-kube-apiserver: 2026 http: TLS handshake error from 127.0.0.1:1: EOF", "a-kube-apiserver: " + refused}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("complaints: %q (%v)", got, err)
	}
}
