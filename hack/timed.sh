#!/usr/bin/env bash
# Runs a program, and notes in the file TIMES how many seconds it took, and how many of a core: its own and those of what it
# started, such as an API server. `go test -exec` runs tests with it; hack/timed.sh report prints what was noted.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ "$1" = report ]; then
  printf '%8s %14s  %s\n' seconds 'core seconds' what
  # What make has run is the sum of the rest, and of compiling it.
  sort -rn "$TIMES" | awk -F'\t' '
    { printf "%8.0f %14.0f  %s\n", $1, $2 + $3, $4 }
    $4 ~ /^make / { cores += $2 + $3 }
    END { printf "%8s %14.0f  %s\n", "", cores, "all that make has run" }'
  exit
fi

case $1 in
  *.test) what=${PWD#"$root"/} ;;
  *) what=$* what=${what/--no-print-directory /} ;;
esac
TIMEFORMAT=$'%R\t%U\t%S\t'$what
exec 3>&2
{ time "$@" 2>&3; } 2>>"$TIMES"
