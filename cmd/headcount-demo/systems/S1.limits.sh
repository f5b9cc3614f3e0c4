# S1.limits  one origin, CORS by list, 429 with Retry-After
# doc: gateway.md#what-happens-to-a-request
# $ curl -si $CLOUD/v1/sites -H "$A" | tr -d '\r' | grep -iE '^(content-security-policy|x-correlation-id):'
# > [Cc]ontent-[Ss]ecurity-[Pp]olicy
. "$(dirname "$0")/lib.sh"
OUT=$(curl -si -X OPTIONS "$LAB/v1/sites" -H 'Origin: https://intranet.example.org' -H 'Access-Control-Request-Method: GET')
has 'Allow-Origin: https://intranet.example.org'
OUT=$(curl -si -X OPTIONS "$LAB/v1/sites" -H 'Origin: https://elsewhere.example' -H 'Access-Control-Request-Method: GET')
grep -qi 'allow-origin' <<<"$OUT" && wrong "a page elsewhere is let in: $OUT"
printf 'data: data\nhttp: {listen: "127.0.0.1:0", rate_limit: {per_second: 5}}\nnats: {listen: "127.0.0.1:0"}\n' >"$T/slow.yaml"
(cd "$T" && exec headcount-cloud run --config slow.yaml >slow.log 2>&1) &
soon grep -om1 'http://[^ ]*' "$T/slow.log"
for i in $(seq 60); do curl -si "$OUT/v1/sites" >>"$T/all"; done
grep -q ' 429 ' "$T/all" || wrong "60 requests at once and no 429"
grep -qi '^retry-after: [0-9]' "$T/all" || wrong "429 without Retry-After"
proven ./edge/gateway TestRates TestPagesElsewhere
