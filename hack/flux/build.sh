#!/usr/bin/env bash
# Builds Flux's pinned kustomize-controller from the Go module proxy into bin/flux, once, and prints the folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

cd "$here"
version=$(go list -m -f '{{.Version}}' github.com/fluxcd/kustomize-controller)
out=$root/bin/flux/$version
if [ ! -x "$out/kustomize-controller" ]; then
  started=$SECONDS
  echo "  building Flux's kustomize-controller $version (once; many minutes from an empty Go cache) ..." >&2
  mkdir -p "$out"
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$out/.kustomize-controller.partial" github.com/fluxcd/kustomize-controller >&2
  mv "$out/.kustomize-controller.partial" "$out/kustomize-controller"
  echo "  built it in $((SECONDS - started)) s" >&2
fi
# Beside it the custom resources: its own, and those of the sources that it reads, of the version that it is built for.
if [ ! -d "$out/crds" ]; then
  own=$(go list -m -f '{{.Dir}}' github.com/fluxcd/kustomize-controller)
  api=$(go list -m -f '{{.Version}}' github.com/fluxcd/source-controller/api)
  sources=$(go mod download -json "github.com/fluxcd/source-controller@$api" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  rm -rf "$out/.crds.partial"
  mkdir "$out/.crds.partial"
  install -m 644 "$own"/config/crd/bases/*.yaml "$sources"/config/crd/bases/*.yaml "$out/.crds.partial"
  mv "$out/.crds.partial" "$out/crds"
fi
printf '%s\n' "$out"
