#!/usr/bin/env bash
# Makes sure that the redis-server program is there, which Argo CD caches in. The system's service is neither used nor
# started.
set -euo pipefail

command -v redis-server >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== redis-server is missing; installing it with apt-get ..."
  # A policy-rc.d that answers 101 is how Debian lets a package be installed without starting its service.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; then
    exit 0
  fi
fi
echo "The test with Argo CD needs the redis-server program. Install it, for example with: apt-get install redis-server" >&2
exit 1
