package bench_test

import (
	"context"
	"crypto"
	stdecdsa "crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdrsa "crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
)

// loop is the floor itself: plain client-go and crypto/x509, without a watch, an event or a read.
type loop struct {
	job
	core        kubernetes.Interface
	credentials rest.Interface
	status      string // of the pattern, as a patch
	pattern     *x509.Certificate
	patternPEM  []byte
	patternKey  []byte
	ca          *x509.Certificate
	caKey       crypto.Signer
}

func newLoop(j job) (*loop, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", j.Kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	l := &loop{job: j}
	ours := rest.CopyConfig(cfg)
	ours.GroupVersion, ours.APIPath = &v1alpha1.GroupVersion, "/apis"
	ours.NegotiatedSerializer = serializer.NewCodecFactory(controller.Scheme()).WithoutConversion()
	if l.credentials, err = rest.RESTClientFor(ours); err != nil {
		return nil, err
	}
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	if l.core, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{"status": j.Credential.Status})
	if err != nil {
		return nil, err
	}
	l.status = string(patch)
	l.patternPEM, l.patternKey = j.Secrets[0].Data[corev1.TLSCertKey], j.Secrets[0].Data[corev1.TLSPrivateKeyKey]
	certs, err := pki.ParseCertificates(l.patternPEM)
	if err != nil {
		return nil, err
	}
	l.pattern = certs[0]
	return l, l.newCA()
}

// newCA makes a CA with a key like the pattern's, and of the pattern's issuer's name.
func (l *loop) newCA() error {
	key, _, err := l.newKey()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: l.pattern.Issuer, NotBefore: l.pattern.NotBefore, NotAfter: l.pattern.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: l.pattern.AuthorityKeyId,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	l.ca, err = x509.ParseCertificate(der)
	l.caKey = key
	return err
}

// newKey makes a key of the pattern's kind, and encodes it as the pattern's is encoded.
func (l *loop) newKey() (crypto.Signer, []byte, error) {
	block, _ := pem.Decode(l.patternKey)
	switch public := l.pattern.PublicKey.(type) {
	case *stdecdsa.PublicKey:
		key, err := stdecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		der, err := x509.MarshalECPrivateKey(key)
		return key, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), err
	case *stdrsa.PublicKey:
		key, err := stdrsa.GenerateKey(rand.Reader, public.N.BitLen())
		if err != nil {
			return nil, nil, err
		}
		return key, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
	default:
		return nil, nil, fmt.Errorf("the floor knows no keys like %T", public)
	}
}

// one makes what one NodeCredential costs.
func (l *loop) one(name string) error {
	ctx := context.Background()
	var made v1alpha1.NodeCredential
	c := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: l.Credential.Namespace, Name: name}, Spec: l.Credential.Spec}
	c.Spec.HostName = name
	if err := l.credentials.Post().Namespace(c.Namespace).Resource("nodecredentials").Body(c).Do(ctx).Into(&made); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	cert, key, certPEM, err := l.sign(name)
	if err != nil {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	in := strings.NewReplacer(
		l.Credential.Name, name, string(l.Credential.UID), string(made.UID),
		string(l.patternPEM), string(certPEM), encode(l.patternPEM), encode(certPEM),
		string(l.patternKey), string(key), encode(l.patternKey), encode(key),
		pki.SerialOf(l.pattern), pki.SerialOf(cert), pki.FingerprintOf(l.pattern), pki.FingerprintOf(cert),
	)
	for i := range l.Secrets {
		if _, err := l.core.CoreV1().Secrets(c.Namespace).Create(ctx, secretLike(&l.Secrets[i], in), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create a Secret of %s: %w", name, err)
		}
	}
	err = l.credentials.Patch(types.MergePatchType).Namespace(c.Namespace).Resource("nodecredentials").Name(name).SubResource("status").
		Body([]byte(in.Replace(l.status))).Do(ctx).Into(&made)
	if err != nil {
		return fmt.Errorf("patch the status of %s: %w", name, err)
	}
	return nil
}

// sign makes a key, and a certificate like the pattern's.
func (l *loop) sign(name string) (cert *x509.Certificate, key, certPEM []byte, err error) {
	signer, key, err := l.newKey()
	if err != nil {
		return nil, nil, nil, err
	}
	serial := make([]byte, len(l.pattern.SerialNumber.Bytes()))
	if _, err := rand.Read(serial); err != nil {
		return nil, nil, nil, err
	}
	serial[0] |= 0x40
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: l.pattern.Subject, NotBefore: l.pattern.NotBefore, NotAfter: l.pattern.NotAfter,
		KeyUsage: l.pattern.KeyUsage, ExtKeyUsage: l.pattern.ExtKeyUsage, BasicConstraintsValid: true,
		DNSNames: l.pattern.DNSNames, IPAddresses: l.pattern.IPAddresses,
		SubjectKeyId: l.pattern.SubjectKeyId,
	}
	template.Subject.CommonName = strings.ReplaceAll(template.Subject.CommonName, l.Credential.Name, name)
	der, err := x509.CreateCertificate(rand.Reader, template, l.ca, signer.Public(), l.caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, nil, err
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// secretLike is the pattern of a Secret with everything replaced that is another object's.
func secretLike(pattern *corev1.Secret, in *strings.Replacer) *corev1.Secret {
	s := pattern.DeepCopy()
	s.Name = in.Replace(s.Name)
	for key, text := range s.Annotations {
		s.Annotations[key] = in.Replace(text)
	}
	for i := range s.OwnerReferences {
		o := &s.OwnerReferences[i]
		o.Name, o.UID = in.Replace(o.Name), types.UID(in.Replace(string(o.UID)))
	}
	for key, data := range s.Data {
		s.Data[key] = []byte(in.Replace(string(data)))
	}
	return s
}
