#!/usr/bin/env bash
# Builds the image without a container engine, with buildah, and checks that it is what Dockerfile promises.
#
#   hack/image.sh binaries [platform ...]   the programs, as dist/image/<platform>/clusterpki
#   hack/image.sh build [platform ...]      and images of them, in dist/clusterpki.oci.tar, checked    (make image)
#
# Platforms: linux/amd64 and linux/arm64 by default. It needs Go; build needs buildah, jq and root, or user namespaces.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

context=dist/image
command=$1
shift
platforms=("$@")
[ $# -gt 0 ] || platforms=(linux/amd64 linux/arm64)

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

binaries() {
  local platform
  rm -rf "$context"
  for platform in "${platforms[@]}"; do
    say "$context/$platform/clusterpki"
    CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} \
      go build -trimpath -ldflags='-s -w' -o "$context/$platform/clusterpki" ./cmd
  done
}

# image runs buildah with a store of its own. vfs and chroot need neither a kernel module nor a container runtime.
image() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }

build() {
  local platform
  command -v buildah >/dev/null || die "needs buildah: apt-get install buildah"
  command -v jq >/dev/null || die "needs jq: apt-get install jq"
  store=$(mktemp -d)
  trap 'rm -rf "$store"' EXIT
  image manifest create clusterpki >/dev/null
  for platform in "${platforms[@]}"; do
    say "the image for $platform"
    # The same binary makes the same image: no time of the build is in it.
    image build --quiet --isolation=chroot --platform="$platform" --build-arg=TARGETPLATFORM="$platform" --timestamp=0 \
      --format=oci --manifest=clusterpki -f Dockerfile "$context"
  done
  rm -f dist/clusterpki.oci.tar
  image manifest push --quiet --all clusterpki oci-archive:dist/clusterpki.oci.tar
}

# blob prints a file of the archive by its digest.
blob() { cat "$store/oci/blobs/sha256/${1#sha256:}"; }

# checked looks into the archive, and not into buildah's store: it is what is pushed.
checked() {
  local index manifest config platform layer
  mkdir "$store/oci"
  tar -xf dist/clusterpki.oci.tar -C "$store/oci"
  index=$(jq -r '.manifests[0].digest' "$store/oci/index.json")
  [ "$(blob "$index" | jq '.manifests | length')" = ${#platforms[@]} ] || die "the index has not ${#platforms[@]} images"
  for platform in "${platforms[@]}"; do
    manifest=$(blob "$index" | jq -r --arg p "$platform" '.manifests[] | select(.platform | "\(.os)/\(.architecture)" == $p) | .digest')
    [ -n "$manifest" ] || die "there is no image for $platform"
    config=$(blob "$manifest" | jq -r .config.digest)
    blob "$config" | jq -e '.config | .User == "65532:65532" and .Entrypoint == ["clusterpki"] and .Env == ["PATH=/usr/local/bin"]
      and .Cmd == null and .ExposedPorts == null and .Labels["org.opencontainers.image.licenses"] == "Apache-2.0"' >/dev/null ||
      die "$platform is configured otherwise: $(blob "$config" | jq -c .config)"
    mkdir -p "$store/root-$platform"
    for layer in $(blob "$manifest" | jq -r '.layers[].digest'); do blob "$layer" | tar -xz -C "$store/root-$platform"; done
    [ "$(cd "$store/root-$platform" && find . ! -type d)" = ./usr/local/bin/clusterpki ] || die "$platform has other files"
    cmp "$store/root-$platform/usr/local/bin/clusterpki" "$context/$platform/clusterpki"
    say "$platform: one file, user 65532, no shell, $(blob "$manifest" | jq '[.layers[].size] | add') bytes, $manifest"
  done
}

# runs starts the program in the image's own root, as its user, who can write nothing there. That is not all that a
# container runtime does: no namespaces, no seccomp.
runs() {
  local platform
  platform="$(go env GOOS)/$(go env GOARCH)"
  [ -d "$store/root-$platform" ] || { say "no image is for this machine: none was run"; return; }
  [ "$(id -u)" = 0 ] || { say "not root: the image was not run"; return; }
  chmod -R a+rX "$store"
  say "clusterpki --version in it: $(chroot --userspec=65532:65532 "$store/root-$platform" /usr/local/bin/clusterpki --version)"
}

case $command in
  binaries) binaries ;;
  build)
    binaries
    build
    checked
    runs
    ;;
  *) die "no such command: $command" ;;
esac
