package shell_test

import (
	"os/exec"
	"testing"

	"clusterpki.io/operator/internal/shell"
)

// TestQuote: a shell gets the text back, whatever it holds.
func TestQuote(t *testing.T) {
	for _, text := range []string{"", "2026-11", "$(touch x)", "`touch x`", `it's`, `'; touch x; '`, `"a" \ b`, "a\nb", "!!"} {
		got, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shell.Quote(text)).Output()
		if err != nil || string(got) != text {
			t.Errorf("%q comes back as %q: %v", text, got, err)
		}
	}
}
