#!/usr/bin/env bash
# Builds the named programs from the Go module proxy into bin/kubernetes/<versions>/, each once, and prints
# on standard output the folder that holds them all. Progress goes to standard error. It needs only Go.
#
#   hack/kubernetes/build.sh etcd kube-apiserver kubectl
#
# Programs: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kubeadm, hollow-node.
#
# Where KUBEBUILDER_ASSETS is set, it wins: a program that it holds isn't built but linked, so that
# the printed folder is complete all the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { printf '%s\n' "$*" >&2; }

version_of() { (cd "$1" && go list -mod=mod -m -f '{{.Version}}' "$2"); }
kubernetes=$(version_of "$here" k8s.io/kubernetes)
etcd=$(version_of "$here/etcd" go.etcd.io/etcd/server/v3)
out="$root/bin/kubernetes/$kubernetes-etcd-$etcd"
mkdir -p "$out"

# Test packages run side by side and each may ask for the programs: the second waits for the first.
lock() {
  command -v flock >/dev/null || return 0
  exec 9>"$out/.lock"
  flock -n 9 || { say "  waiting for another build in $out ..."; flock 9; }
}

# kubernetes_ldflags stamps the version as the release builds do; clients and servers compare it.
kubernetes_ldflags() {
  local major minor prefix
  IFS=. read -r major minor _ <<<"${kubernetes#v}"
  printf -- '-s -w'
  for prefix in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- ' -X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s -X %s.gitTreeState=clean' \
      "$prefix" "$kubernetes" "$prefix" "$major" "$prefix" "$minor" "$prefix"
  done
}

# source_of prints the module's folder and the package of a program.
source_of() {
  case $1 in
    etcd) echo "$here/etcd go.etcd.io/etcd/server/v3" ;;
    hollow-node) echo "$here ./hollow-node" ;;
    kube-apiserver | kube-controller-manager | kube-scheduler | kubectl | kubeadm) echo "$here k8s.io/kubernetes/cmd/$1" ;;
    *)
      say "$0: no such program: $1"
      return 1
      ;;
  esac
}

# stamp identifies what a program is built from. The released ones are told apart by the folder's name;
# hollow-node is this repository's own and changes without a new version.
stamp() {
  if [ "$1" = hollow-node ]; then
    cat "$here/go.mod" "$here"/hollow-node/*.go | git hash-object --stdin
  else
    echo released
  fi
}

is_built() {
  [ -x "$out/$1" ] || return 1
  [ "$1" != hollow-node ] || [ "$(cat "$out/.$1.stamp" 2>/dev/null)" = "$(stamp "$1")" ]
}

build() {
  local name=$1 dir package ldflags started=$SECONDS
  read -r dir package < <(source_of "$name")
  ldflags=$(kubernetes_ldflags)
  [ "$name" != etcd ] || ldflags='-s -w'
  say "  building $name (once; minutes from an empty Go cache) ..."
  # Built beside its place and then renamed: an interrupted build leaves no half-written program.
  (cd "$dir" && CGO_ENABLED=0 go build -trimpath -ldflags "$ldflags" -o "$out/.$name.partial" "$package") >&2 9>&-
  mv "$out/.$name.partial" "$out/$name"
  stamp "$name" >"$out/.$name.stamp"
  say "  built $name in $((SECONDS - started)) s"
}

# assets_hold says whether the user's folder has the program.
assets_hold() { [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; }

# link_all makes a folder of links: the user's programs, and ours where the user has none.
link_all() {
  local dir="$root/bin/kubernetes/with-assets" name
  mkdir -p "$dir"
  for name in "$@"; do
    if assets_hold "$name"; then
      ln -sfn "$(cd "$KUBEBUILDER_ASSETS" && pwd)/$name" "$dir/$name"
    else
      ln -sfn "$out/$name" "$dir/$name"
    fi
  done
  printf '%s\n' "$dir"
}

for name in "$@"; do source_of "$name" >/dev/null; done
lock
for name in "$@"; do
  assets_hold "$name" || is_built "$name" || build "$name"
done
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  link_all "$@"
else
  printf '%s\n' "$out"
fi
