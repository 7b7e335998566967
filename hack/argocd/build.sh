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
# The custom resources are those of the very version.
if [ ! -d "$out/crds" ]; then
  rm -rf "$out/.crds.partial"
  cp -r "$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)/manifests/crds" "$out/.crds.partial"
  chmod -R u+w "$out/.crds.partial"
  rm "$out/.crds.partial/kustomization.yaml"
  mv "$out/.crds.partial" "$out/crds"
fi
printf '%s\n' "$out"
