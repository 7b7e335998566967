package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
)

// record is all that the agent must remember of a set of files. It lies beside them and changes in the same moment, so
// that an agent that is killed goes on where it was. Maps are by Lease.
type record struct {
	// Installed is when the set was put in its place, and Reloaded when the last of its reloads was done.
	Installed time.Time `json:"installed,omitzero"`
	Reloaded  time.Time `json:"reloaded,omitzero"`
	// Reload are the components that have still to be reloaded, in this order.
	Reload []string `json:"reload,omitempty"`
	// NeedsRestart are those that would have to be, and there is no way to.
	NeedsRestart []string `json:"needsRestart,omitempty"`
	// Due is from when on everything that reloads by itself has done so.
	Due time.Time `json:"due,omitzero"`
	// States say what the files hold, and Verified what was last seen in use.
	States   map[string]ack.State `json:"states,omitempty"`
	Verified map[string]ack.State `json:"verified,omitempty"`
	// Delivered are the latest documents that files were installed from, also of files that were rolled back since: no older one
	// is taken any more.
	Delivered map[string]signedAt `json:"delivered,omitempty"`
	// Named are the delivery keys that were named in what was signed.
	Named named `json:"named,omitzero"`
	// Trusts are whom the files trust.
	Trusts trusts `json:"trusts,omitempty"`
	// Worked are those that worked before this set: if they don't any more, the set goes.
	Worked []string `json:"worked,omitempty"`
	// Checked: the set was seen to work after its reloads, or there is no way back from it.
	Checked bool `json:"checked,omitempty"`
	// Failed is a set that did not work and was rolled back.
	Failed *failure `json:"failed,omitempty"`
}

// signedAt tells one signed document of an object from another.
type signedAt struct {
	Time      time.Time `json:"time"`
	Statement string    `json:"statement"` // digest
	UID       string    `json:"uid"`       // of the object that it is signed for
	Key       string    `json:"key"`       // ID of the delivery key that has signed it
}

func sameDocument(a, b signedAt) bool { return a.Time.Equal(b.Time) && a.Statement == b.Statement }

// failure is a set that did not work.
type failure struct {
	Digest   string    `json:"digest"` // of its files
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Until    time.Time `json:"until"` // it is not tried again before
}

// recordOf reads the record of a set. One that is damaged reads as none: then everything is checked again.
func recordOf(set hostdir.Set) record {
	var r record
	if json.Unmarshal(set.Note, &r) != nil {
		return record{}
	}
	return r
}

func (r record) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode what to remember: %w", err)
	}
	return text, nil
}

// digest tells sets of files apart.
func digest(files []hostdir.File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d:%s %o %d:", len(f.Path), f.Path, f.Mode, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

const (
	firstRetry = time.Minute
	lastRetry  = 30 * time.Minute
)

// failed is the failure of a set, one more time.
func (r record) failed(now time.Time, files []hostdir.File, why error) *failure {
	f := &failure{Digest: digest(files), Reason: why.Error(), Attempts: 1}
	if was := r.Failed; was != nil && was.Digest == f.Digest {
		f.Attempts = was.Attempts + 1
	}
	f.Until = now.Add(backoff(f.Attempts, firstRetry, lastRetry))
	return f
}

// backoff is how long to wait after so many attempts.
func backoff(attempts int, first, last time.Duration) time.Duration {
	d := first
	for range attempts - 1 {
		if d *= 2; d >= last {
			return last
		}
	}
	return d
}

// inUse says whether everything that the files hold was seen in use.
func (r record) inUse() bool {
	return maps.EqualFunc(r.States, r.Verified, same)
}

func same(a, b ack.State) bool {
	return a.SerialNumber == b.SerialNumber && maps.Equal(a.Contents, b.Contents)
}

// restated is the record once the Secrets say something else of the same files: what was in use still is.
func (r record) restated(states map[string]ack.State, delivered map[string]signedAt) record {
	verified := map[string]ack.State{}
	for lease, s := range states {
		was, ok := r.Verified[lease]
		switch {
		case ok && r.Checked && same(was, r.States[lease]):
			verified[lease] = s
		case ok:
			verified[lease] = was
		}
	}
	r.States, r.Verified, r.Delivered = states, verified, delivered
	return r
}
