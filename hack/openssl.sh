#!/usr/bin/env bash
# Makes sure that the openssl program is there: the tests let it judge every certificate, beside Go's verifier.
set -euo pipefail

command -v openssl >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== openssl is missing; installing it with apt-get ..."
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openssl >/dev/null; then
    exit 0
  fi
fi
echo "The tests need the openssl program (3.0 or newer). Install it, for example with: apt-get install openssl" >&2
exit 1
