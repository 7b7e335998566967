#!/usr/bin/env bash
# Copies into the Helm chart what it shares with config/: the CRDs, the rules of the roles, the admission policies, and what is for
# Prometheus.
# Nothing of it is written twice.
#
#   hack/chart.sh        (make chart)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files=charts/clusterpki/files
rm -rf "$files"
mkdir -p "$files/crds" "$files/rbac" "$files/admission" "$files/prometheus"
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/*role.yaml config/namespaced/*role.yaml config/agents/*role.yaml "$files/rbac/"
cp config/admission/{nodecredential,apiservercertificate,clusterca,serviceaccountkey,clusterpki,rotates}.yaml "$files/admission/"
cp config/prometheus/{rules.yaml,servicemonitor.yaml,dashboard.json} "$files/prometheus/"
