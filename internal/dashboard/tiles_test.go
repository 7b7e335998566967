package dashboard

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// TestTiles: the page begins with the clusters, those that need somebody first, and each is a link to what there is of it.
func TestTiles(t *testing.T) {
	unready := pkiOf("edge", "b")
	unready.Status.Conditions[0].Status, unready.Status.Conditions[0].Reason = metav1.ConditionFalse, v1alpha1.ReasonChildrenPending
	v := Build(now, status.Objects{
		Clusters: []v1alpha1.ClusterPKI{
			pkiOf("edge", "a"), unready, pkiOf("prod", "k8s", v1alpha1.ClusterAttention{Host: "node1", Reason: v1alpha1.ReasonLeaseExpired, Edit: "x"}),
		},
		CAs: []v1alpha1.ClusterCA{ca("prod", "k8s-ca"), ca("byhand", "k8s")},
	})
	var got []string
	for _, tile := range v.Tiles {
		got = append(got, tile.Tone()+" "+tile.Title()+" "+tile.ID)
	}
	want := []string{"bad b pki.edge.b", "busy k8s pki.prod.k8s", "good byhand s.c.byhand", "good a pki.edge.a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var html bytes.Buffer
	if err := templates.ExecuteTemplate(&html, "live", v); err != nil {
		t.Fatal(err)
	}
	for _, tile := range v.Tiles {
		for _, part := range []string{`href="#` + tile.ID + `"`, ` id="` + tile.ID + `"`} {
			if !strings.Contains(html.String(), part) {
				t.Errorf("the page has no %s", part)
			}
		}
	}
	if first := strings.Index(html.String(), `id="s.fleet"`); first < 0 || first > strings.Index(html.String(), `id="totals"`) {
		t.Error("the page does not begin with the clusters")
	}
	if text := v.Tiles[1].Search(); text != "prod k8s https://k8s.prod.example:6443 ready node1 leaseexpired" {
		t.Errorf("it is found by %q", text)
	}
}
