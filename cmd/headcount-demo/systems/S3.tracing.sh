# S3.tracing  one trace from a reading to its delivery
# doc: service.md
. "$(dirname "$0")/lib.sh"
grep -rq 'otlptracehttp' "$ROOT/cloud" "$ROOT/edge" --include='*.go' || missing "traces are not exported yet"
missing "there is no check with the collector yet"
