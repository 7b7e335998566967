#!/usr/bin/env bash
# Copies into the Helm chart what it shares with config/: the CRDs, the rules of the roles, and what is for Prometheus.
# Nothing of it is written twice.
#
#   hack/chart.sh        (make chart)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files=charts/clusterpki/files
rm -rf "$files"
mkdir -p "$files/crds" "$files/rbac" "$files/prometheus"
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/*role.yaml config/namespaced/*role.yaml "$files/rbac/"
cp config/prometheus/{rules.yaml,servicemonitor.yaml,dashboard.json} "$files/prometheus/"
