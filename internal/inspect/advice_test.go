package inspect

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAdvice says what to do for every reason there is, unless it is good news.
func TestAdvice(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]bool{
		"Issued": true, "IssuerAvailable": true, "NotCrossSigned": true, "CAExpiresFirst": true, "AsExpected": true, "InUse": true,
	}
	reasons := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		reasons++
		if (byReason[reason] == "") != good[reason] {
			t.Errorf("%s: %q", reason, byReason[reason])
		}
		return true
	})
	if reasons < 20 {
		t.Errorf("only %d reasons were found", reasons)
	}
	for _, c := range []struct {
		kind, status, reason string
		advised              bool
	}{
		{"Ready", "True", "Issued", false}, {"Ready", "False", "SomethingNew", true}, {"Ready", "Unknown", "x", true}, {"Stalled", "True", "SecretConflict", true},
		{"Serving", "False", "WrongCertificate", true}, {"Rotating", "True", "Reissuing", false}, {"RotationBlocked", "True", "Reissuing", true},
		{"WithdrawalPending", "True", "Assumed", true}, {"WithdrawalPending", "False", "Assumed", false},
		{"KeyRemovalDue", "True", "TokensLeft", true}, {"Rotating", "True", "SwitchingSigner", false},
	} {
		if got := next(metav1.Condition{Type: c.kind, Status: metav1.ConditionStatus(c.status), Reason: c.reason}); (got != "") != c.advised {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
