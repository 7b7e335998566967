#!/usr/bin/env bash
# Builds the pinned Argo CD from the Go module proxy into bin/argocd, once, and prints the folder. It is one program
# that is a server, a controller or the CLI by the name it is called by.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# It needs a newer Go than clusterpki. The go command takes that one from the module proxy.
case $(go env GOVERSION) in
  go1.2[0-6]*) export GOTOOLCHAIN=go1.27.3 ;;
esac
cd "$here"
version=$(go list -m -f '{{.Version}}' github.com/argoproj/argo-cd/v3)
out=$root/bin/argocd/$version
if [ ! -x "$out/argocd" ]; then
  started=$SECONDS
  echo "  building Argo CD $version (once; many minutes from an empty Go cache) ..." >&2
  mkdir -p "$out"
  CGO_ENABLED=0 go build -trimpath \
    -ldflags "-s -w -X github.com/argoproj/argo-cd/v3/common.version=${version#v}" \
    -o "$out/.argocd.partial" github.com/argoproj/argo-cd/v3/cmd >&2
  mv "$out/.argocd.partial" "$out/argocd"
  echo "  built Argo CD in $((SECONDS - started)) s" >&2
fi
# Beside it, of the very version: its custom resources, and the script that its repository server runs.
if [ ! -d "$out/crds" ]; then
  module=$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)
  install -m 755 "$module/hack/git-verify-wrapper.sh" "$out/git-verify-wrapper.sh"
  rm -rf "$out/.crds.partial"
  mkdir "$out/.crds.partial"
  install -m 644 "$module"/manifests/crds/*-crd.yaml "$out/.crds.partial"
  mv "$out/.crds.partial" "$out/crds"
fi
printf '%s\n' "$out"
