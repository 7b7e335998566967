package chart_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"clusterpki.io/operator/internal/cli"
)

// arguments are the flags of `clusterpki manager`, and the values by which the chart sets them.
var arguments = map[string]values{
	"leader-elect":           nil, // by default
	"metrics-bind-address":   nil,
	"metrics-secure":         {"metrics": values{"secure": false}},
	"namespace":              {"scope": "Namespace", "namespace": "prod"},
	"authority-namespace":    {"authorityNamespace": "keys"},
	"agents-namespace":       {"agentsNamespace": "hosts"},
	"dashboard-bind-address": {"dashboard": values{"enabled": true}},
	"dashboard-host":         {"dashboard": values{"enabled": true, "hosts": []any{"pki.example.com"}}},
	"workers":                {"workers": 8},
	"probe-allow":            {"probeAllow": []any{"127.0.0.0/8"}},
}

// unset are the flags that no value sets, each with its reason. extraArgs sets those that a pod may have.
var unset = map[string]string{
	"own-namespace":             "a pod knows its own",
	"leader-election-namespace": "a pod knows its own",
	"health-probe-bind-address": "the Deployment's probes and the NetworkPolicy go by the port",
	"metrics-cert-dir":          "it needs a volume, which no value adds",
	"dashboard-secure":          "without, only a loopback address is allowed, which no Service reaches",
	"development-log":           "for people at a terminal",
	"help":                      "of every command",
}

// TestFlags has a value for each flag of the operator, or a reason why there is none; and each flag that the chart sets is one.
func TestFlags(t *testing.T) {
	manager, _, err := cli.New().Find([]string{"manager"})
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	manager.Flags().VisitAll(func(f *pflag.Flag) {
		known = append(known, f.Name)
		v, can := arguments[f.Name]
		switch set := slices.ContainsFunc(args(t, v), func(arg string) bool { return arg == "--"+f.Name || strings.HasPrefix(arg, "--"+f.Name+"=") }); {
		case can && !set:
			t.Errorf("the values %v do not set --%s", v, f.Name)
		case !can && unset[f.Name] == "":
			t.Errorf("no value of the chart sets --%s, and no reason is given", f.Name)
		}
	})
	for _, arg := range args(t, readValues(t, "everything.yaml")) {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if arg != "manager" && !slices.Contains(known, name) {
			t.Errorf("the chart sets --%s, which is no flag", name)
		}
	}
}

// args are the arguments of the rendered operator.
func args(t *testing.T, v values) []string {
	t.Helper()
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects(t, render(t, v))["Deployment "+system+"/clusterpki"].Object, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Args
}
