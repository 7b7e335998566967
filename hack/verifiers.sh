#!/usr/bin/env bash
# Makes sure that the programs openssl and certtool (GnuTLS) are there: the tests let them judge certificates, beside Go's verifier.
set -euo pipefail

missing=()
command -v openssl >/dev/null || missing+=(openssl)
command -v certtool >/dev/null || missing+=(gnutls-bin)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== installing ${missing[*]} with apt-get ..."
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; then
    exit 0
  fi
fi
echo "The tests need the programs openssl (3.0 or newer) and certtool (of GnuTLS). Install them, for example with: apt-get install ${missing[*]}" >&2
exit 1
