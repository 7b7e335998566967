#!/usr/bin/env bash
# Fails where the repository is not what its generators, linters and vulnerability data would have it.
#
#   hack/verify.sh generated "<modules>" "<generated files>"
#   hack/verify.sh vulnerabilities
#
# `make verify` does both, and lints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

# checked are the files that must come out of their generators as they are.
checked() {
  local module
  find "${generated[@]}" -type f
  for module in "${modules[@]}"; do
    printf '%s\n' "$module/go.mod" "$module/go.sum"
  done
}

# snapshot prints a checksum of each. Not `git diff`, which would call a change that is right but isn't
# committed yet stale; on a clean checkout the two say the same.
snapshot() { checked | sort | while read -r file; do printf '%s %s\n' "$(git hash-object "$file")" "$file"; done; }

# vulnerabilities fails for a vulnerability that the program can reach. Where the database is out of reach it
# says so and goes on: an offline machine can still verify the rest.
vulnerabilities() {
  local out status=0
  out=$(bin/tools/govulncheck ./... 2>&1) || status=$?
  printf '%s\n' "$out"
  if [ "$status" -ne 0 ] && grep -qE 'fetching vulnerabilities: .*(dial tcp|no such host|timeout|connection refused|proxyconnect|Forbidden)' <<<"$out"; then
    printf '\033[33m%s\033[0m\n' \
      '!! ------------------------------------------------------------------------------' \
      '!! NOT CHECKED for known vulnerabilities: https://vuln.go.dev is out of reach here.' \
      '!! Run `make verify` again where it is reachable.' \
      '!! ------------------------------------------------------------------------------'
    return 0
  fi
  return "$status"
}

generated() {
  local before changed module
  before=$(snapshot)
  say "regenerate"
  make --no-print-directory generate manifests docs chart
  say "tidy ${modules[*]}"
  for module in "${modules[@]}"; do (cd "$module" && go mod tidy); done
  changed=$(diff <(printf '%s\n' "$before") <(snapshot)) && return 0
  say "these files were stale; they are up to date now, so commit them:"
  awk '/^>/ { print "  " $3 }' <<<"$changed"
  return 1
}

case $1 in
  generated)
    read -ra modules <<<"$2"
    read -ra generated <<<"$3"
    generated
    ;;
  vulnerabilities)
    say "known vulnerabilities"
    vulnerabilities
    ;;
esac
