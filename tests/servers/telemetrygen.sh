#!/usr/bin/env bash
# Build the Collector's own generator of foreign spans, once, beside the Collector (see otel-collector/build.sh), and
# print the path of its binary; with --built print it only if there is one, else exit with 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../otel-collector"
. ./go.sh

readonly module=github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0

cache=${OTELCOL_CACHE:-$PWD/../build/otel-collector}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
binary=$cache/telemetrygen-${module#*@}

if [[ ! -x $binary ]]; then
  [[ ${1:-} != --built ]] || exit 3
  need_go "$cache" >&2
  work=$(mktemp -d "$cache/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  CGO_ENABLED=0 GOBIN=$work go install "$module" >&2
  mv "$work/telemetrygen" "$binary"
fi
printf '%s\n' "$binary"
