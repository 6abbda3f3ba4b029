#!/usr/bin/env bash
# Build the Collector of builder.yaml and print the path of its binary; with --built print it only if there is
# one, else exit with 3. A build is kept by what it was made of (builder.yaml and this file) below build/, or in
# $OTELCOL_CACHE: two to four minutes on two cores, then at once. Work goes on in a directory beside the result,
# which appears by a rename: what was interrupted never looks finished.
#
# Needs the Go module proxy, and Go, which go.sh gets where it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly builder=go.opentelemetry.io/collector/cmd/builder@v0.161.0
. ./go.sh

cache=${OTELCOL_CACHE:-$PWD/../build/otel-collector}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$({ cat builder.yaml build.sh; uname -sm; } | sha256sum | cut -c1-16)
binary=$cache/otelcol-pytest-$key

if [[ ${1:-} == --built ]]; then
  [[ -x $binary ]] || exit 3
  printf '%s\n' "$binary"
  exit
fi

exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi # a second build waits for the first
if [[ ! -x $binary ]]; then
  need_go "$cache" >&2
  export CGO_ENABLED=0
  work=$(mktemp -d "$cache/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "building the Collector, once: two to four minutes" >&2
  GOBIN=$work go install "$builder" >&2
  "$work/builder" --config=builder.yaml --output-path "$work/out" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  mv "$work/out/otelcol-pytest" "$binary"
fi
printf '%s\n' "$binary"
