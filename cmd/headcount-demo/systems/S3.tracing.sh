# S3.tracing  one trace from a reading to its delivery
# doc: operations.md#traces
. "$(dirname "$0")/lib.sh"
id=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
curl -fsS "$LABHUB/v1/readings" -H "traceparent: 00-$id-00f067aa0ba902b7-01" -d '{"sensor":"lobby-people","count_abs":2}' >/dev/null
spans() { curl -s "$PEERS/traces" | jq -r '.[]' | while read -r hex; do basenc -d --base16 <<<"${hex^^}" | jq -r ".resourceSpans[].scopeSpans[].spans[] | select(.traceId == \"$id\") | .name"; done; }
joined() { spans | grep -E 'readings accept|batch apply' | sort -u | paste -sd, | grep 'batch apply,readings accept'; }
soon joined
proven ./cmd/headcount-demo TestOneTraceFromReadingToWebhook
