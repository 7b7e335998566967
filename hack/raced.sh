#!/usr/bin/env bash
# Prints the packages that are tested with the race detector: those that lock, or that start goroutines, themselves or in their tests.
# Not hostdir: what its tests do side by side, mostly in processes, meets in files; and a process starts slowly with the detector.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
{
  grep -rlE --include='*.go' '^[[:space:]]*go (func\>|[[:alnum:]_.]+\()|\.Go\(' cmd internal
  grep -rlE --include='*.go' --exclude='*_test.go' '^[[:space:]]*"sync(/atomic)?"$' cmd internal
} | xargs -n1 dirname | sort -u | grep -vx internal/hostdir | sed 's|^|./|'
