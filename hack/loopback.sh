#!/usr/bin/env bash
# Runs a program in a network of its own that is nothing but a loopback interface: Argo CD's controller serves its metrics
# on every interface, and cannot be told otherwise. kube-apiserver insists on a default route, and on an address that
# is not 127.x.
#
#   hack/loopback.sh PROGRAM [ARGUMENT...]
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  options=(--net)
  [ "$(id -u)" = 0 ] || options+=(--map-root-user)
  exec unshare "${options[@]}" "$0" --inside "$@"
fi
shift
ip link set lo up
ip address add 192.0.2.1/32 dev lo # for documentation (RFC 5737): nobody's
ip route add default dev lo
exec "$@"
