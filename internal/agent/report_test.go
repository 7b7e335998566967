package agent

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
)

// says is the Lease that the agent writes at a time, and what that is worth to an operator that has recorded a certificate.
func (w *env) says(at time.Time, request string, recorded pki.Leaf) (*coordinationv1.Lease, ack.Proof) {
	w.t.Helper()
	set, err := w.dir.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := w.message(w.objects[0], set, recordOf(set), request)
	if err != nil {
		w.t.Fatal(err)
	}
	l := &coordinationv1.Lease{}
	if l.Annotations, err = m.texts(at); err != nil {
		w.t.Fatal(err)
	}
	if !m.said(l) {
		w.t.Error("what was said is to be said again")
	}
	return l, ack.ProofOf(l, "uid", func(serial string) crypto.PublicKey {
		if serial == pki.SerialOf(recorded.Cert) {
			return recorded.Cert.PublicKey
		}
		return nil
	})
}

// TestSignsByWhatIsInstalled: before there is a certificate an agent signs nothing, and then by the key of the one that is installed, not of the one that
// is issued meanwhile.
func TestSignsByWhatIsInstalled(t *testing.T) {
	w := newEnv(t)
	_, _ = w.reloads()
	issued, _ := issue(t, at(), kubeletRequest(), w.ca)
	w.steps()
	if l, proof := w.says(at(), "", issued); proof != ack.Unsigned || ack.Of(l).Installed != nil {
		t.Errorf("before there is anything: %d, %+v", proof, l)
	}
	first := w.put(kubeletRequest())
	w.steps()
	now := at()
	l, proof := w.says(now, "a request", first)
	r, sum := ack.Of(l), sha256.Sum256([]byte("a request"))
	if proof != ack.Signed || r.UID != "uid" || r.Host != "k8s-node1" || !r.Time.Equal(now) || r.SignedBy != pki.SerialOf(first.Cert) ||
		r.Installed.SerialNumber != r.SignedBy || r.RequestSHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%d: %+v", proof, r)
	}
	if later, proof := w.says(now.Add(time.Hour), "a request", first); proof != ack.Signed || !ack.Of(later).Same(r) || ack.Of(later).Time.Equal(now) {
		t.Errorf("an hour later: %d, %+v", proof, ack.Of(later))
	}
	strange := kubeletRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "system:node:another" })
	second := w.put(strange) // it is not installed
	w.steps()
	if l, proof := w.says(now, "", first); proof != ack.Signed || ack.Of(l).Problem == "" {
		t.Errorf("while another one is refused: %d, %+v", proof, ack.Of(l))
	}
	if _, proof := w.says(now, "", second); proof != ack.Forged {
		t.Error("it signs by what is not installed")
	}
	third := w.put(kubeletRequest())
	w.steps()
	if _, proof := w.says(now, "", third); proof != ack.Signed {
		t.Error("it does not sign by what it has installed since")
	}
}

// TestSilentUntilItIsKnown: of an object whose Secret was not asked for yet nothing is said.
func TestSilentUntilItIsKnown(t *testing.T) {
	w := newEnv(t)
	if w.store.known("kubelet-tls") {
		t.Error("the Secret is known")
	}
	w.store.put("kubelet-tls", nil, "it does not exist")
	if !w.store.known("kubelet-tls") {
		t.Error("that there is none is not known")
	}
	w.put(kubeletRequest())
	if !w.store.known("kubelet-tls") {
		t.Error("the Secret is not known")
	}
}

// TestSpeaksForWhatItInstalled: a report names the object that the installed files were signed for, whatever stands in the Secret now.
func TestSpeaksForWhatItInstalled(t *testing.T) {
	w := newEnv(t)
	_, _ = w.reloads()
	first := w.put(kubeletRequest())
	w.steps()
	w.store.put("kubelet-tls", nil, "it was deleted")
	if l, proof := w.says(at(), "", first); proof != ack.Signed || ack.Of(l).UID != "uid" {
		t.Errorf("%d: %+v", proof, ack.Of(l))
	}
}

// TestSaysWhatIsToBeRestarted: until a component has restarted for what is installed, and works, the report says that it has not.
func TestSaysWhatIsToBeRestarted(t *testing.T) {
	w := newEnv(t)
	w.reloads()
	restarting := func() bool {
		t.Helper()
		set, err := w.dir.Current()
		if err != nil {
			t.Fatal(err)
		}
		m, err := w.message(w.objects[0], set, recordOf(set), "")
		if err != nil {
			t.Fatal(err)
		}
		return m.report.Restarting
	}
	w.put(kubeletRequest())
	w.steps()
	if restarting() {
		t.Error("nothing has read a file that was not there")
	}
	ctx, kill := context.WithCancel(t.Context())
	w.run = func(context.Context, []string) (string, error) {
		if !restarting() {
			t.Error("it is about to be restarted, and the report does not say so")
		}
		kill()
		return "", ctx.Err()
	}
	w.put(kubeletRequest())
	w.nextStep(ctx, nil)
	if !restarting() {
		t.Error("the restart was cut off, and the report does not say so")
	}
	w.Agent = w.restarted(w.cfg)
	w.reloads()
	w.steps()
	if restarting() {
		t.Error("it has restarted, and the report does not say so")
	}
}
