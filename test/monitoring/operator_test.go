package monitoring_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"clusterpki.io/operator/test/testenv"
)

// family is the labels of a metric, with the values that each has.
type family map[string]map[string]bool

// families sorts what was scraped by the names that queries use.
func families(scraped model.Vector) map[string]family {
	out := map[string]family{}
	for _, s := range scraped {
		name := string(s.Metric[model.MetricNameLabel])
		if out[name] == nil {
			out[name] = family{}
		}
		for label, value := range s.Metric {
			if out[name][string(label)] == nil {
				out[name][string(label)] = map[string]bool{}
			}
			out[name][string(label)][string(value)] = true
		}
	}
	return out
}

// store is a Prometheus that has scraped the same every half minute for an hour.
type store struct {
	t      *testing.T
	db     storage.Queryable
	engine *promql.Engine
	now    time.Time
}

func newStore(t *testing.T, scraped model.Vector) *store {
	t.Helper()
	db := teststorage.New(t)
	s := &store{t, db, promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery), time.Now()}
	for at := s.now.Add(-time.Hour); !at.After(s.now); at = at.Add(30 * time.Second) {
		app := db.AppenderV2(t.Context())
		for _, sample := range scraped {
			set := map[string]string{}
			for name, value := range sample.Metric {
				set[string(name)] = string(value)
			}
			if _, err := app.Append(0, labels.FromMap(set), 0, at.UnixMilli(), float64(sample.Value), nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ask evaluates an expression.
func (s *store) ask(q query) promql.Vector {
	s.t.Helper()
	asked, err := s.engine.NewInstantQuery(s.t.Context(), s.db, nil, q.expr, s.now)
	if err != nil {
		s.t.Errorf("%s: %v", q.where, err)
		return nil
	}
	defer asked.Close()
	answer := asked.Exec(s.t.Context())
	got, err := answer.Vector()
	if err != nil || len(answer.Warnings) > 0 {
		s.t.Errorf("%s: %v %v", q.where, err, answer.Warnings)
	}
	return slices.Clone(got)
}

// expose runs the operator on a real API server, with the samples, a probe, a host with an agent, and a CA that is being
// rotated, and scrapes it.
func expose(t *testing.T) model.Vector {
	t.Helper()
	env, err := testenv.StartEmpty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	installed, err := env.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	installed.Options.MetricsAddress = address
	testenv.RunOperator(t, installed.Config, installed.Options)
	bringAbout(t, env)
	for t.Context().Err() == nil {
		scraped, err := scrape(t.Context(), address)
		if err == nil && complete(scraped) {
			return scraped
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the CA is not being rotated, or nothing is probed, or no agent has reported")
	return nil
}

// bringAbout lets there be something to tell of.
func bringAbout(t *testing.T, env *testenv.ControlPlane) {
	t.Helper()
	kubectl := func(args ...string) {
		t.Helper()
		if _, _, err := env.Kubectl(t.Context(), append([]string{"-n", "prod"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(kind, name, spec string) {
		kubectl("patch", kind, name, "--type=merge", "-p", `{"spec": `+spec+`}`)
	}
	kubectl("create", "namespace", "prod")
	kubectl("apply", "-k", testenv.Root()+"/config/samples")
	kubectl("create", "namespace", "whole")
	kubectl("apply", "-n", "whole", "-f", testenv.Root()+"/config/samples/clusterpki/cluster.yaml")
	kubectl("patch", "-n", "whole", "clusterpki", "k8s", "--type=merge", "-p", `{"spec": {"certificates": {"delivery": {"mode": "Mounted"}}}}`)
	kubectl("wait", "-n", "whole", "clusterpki/k8s", "--for=condition=Ready", "--timeout=120s")
	patch("asc", "k8s-master", `{"probe": {"addresses": ["`+strings.Trim(strings.TrimPrefix(env.Config.Host, "https:"), "/")+`"], "interval": "1s"}}`)
	patch("nodecredential", "k8s-node1-kubelet", `{"delivery": {"mode": "Agent"}}`)
	kubectl("wait", "lease/k8s-node1-kubelet-tls", "--for=create", "--timeout=120s")
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	patch("lease", "k8s-node1-kubelet-tls", `{"holderIdentity": "k8s-node1", "renewTime": "`+now+`"}`)
	kubectl("wait", "pki", "--all", "--for=condition=Ready", "--timeout=120s")
	patch("cca", "k8s", `{"validity": "43800h"}`)
}

// complete says whether all has come about, and the operator has dealt with all of it.
func complete(scraped model.Vector) bool {
	there := map[string]bool{}
	for _, s := range scraped {
		name := string(s.Metric[model.MetricNameLabel])
		there[name] = true
		if name == "clusterpki_object_unobserved" && s.Value != 0 || s.Metric["reason"] == "LeaseExpired" {
			return false
		}
	}
	return there["clusterpki_rotation_acknowledgments_pending"] && there["clusterpki_probe_success"] && there["clusterpki_agent_report_timestamp_seconds"]
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// scrape reads what the operator serves, as Prometheus does.
func scrape(ctx context.Context, address string) (model.Vector, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, err
	}
	all := make([]*dto.MetricFamily, 0, len(byName))
	for _, f := range byName {
		all = append(all, f)
	}
	return expfmt.ExtractSamples(&expfmt.DecodeOptions{}, all...)
}
