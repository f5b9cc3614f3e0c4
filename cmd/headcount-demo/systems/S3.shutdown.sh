# S3.shutdown  correlation ids, dead letters, and an end that loses nothing
# doc: gateway.md#what-happens-to-a-request
# $ curl -si $HUB/v1/spaces -H 'X-Correlation-ID: mine-3' | tr -d '\r' | grep -i '^x-correlation-id'
# > mine-3
. "$(dirname "$0")/lib.sh"
proven ./edge/hub TestStopUnderLoadAnswersEverybody
for i in $(seq 50); do curl -fsS "$LABHUB/v1/readings" -d "{\"sensor\":\"lobby-people\",\"seq\":$(date +%s%N),\"count_abs\":1}" >/dev/null || true; [ "$i" != 20 ] || kill "$(cat "$DIR/cloud.pid")"; done
back "$LAB"
caught_up() { curl -s "$LAB/v1/sites/hq/status" -H "$L" | jq -e 'select(.backlog == 0)'; }
soon caught_up
headcount-cloud audit --config "$DIR/cloud/cloud.yaml" >"$T/audit" || wrong "audit: $(cat "$T/audit")"
