#!/usr/bin/env bash
# Sees to it that the browser test has Chromium, Node.js and playwright-core.
#
#   hack/chromium.sh [pngquant]        (make test-browser)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../test/browser"

missing=()
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ $# -eq 0 ] || command -v "$1" >/dev/null || missing+=("$1")
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "== apt-get install ${missing[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the browser test needs ${missing[*]}: install them, and set CHROMIUM to the program if it is not /usr/bin/chromium" >&2
    exit 1
  fi
fi
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  echo "the browser test needs Node.js 20 or newer; this is $(node --version)" >&2
  exit 1
fi
if ! cmp -s package-lock.json node_modules/.clusterpki-lock.json; then
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json node_modules/.clusterpki-lock.json
fi
