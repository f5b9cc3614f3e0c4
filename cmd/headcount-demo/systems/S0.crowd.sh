# S0.crowd  the hub finds the crowd and acts by itself
# doc: notifications.md#at-the-hub-actions
. "$(dirname "$0")/lib.sh"
# The cloud is stopped; people pass the lab's door; the webhook is called within a second.
curl -fsS -X PUT "$LABHUB/v1/spaces/hall/count" -H 'Content-Type: application/json' -d '{"count":0}' >/dev/null
curl -fsS "$LABHUB/v1/readings" -d '{"sensor":"hall-door-7","count_in":1000,"count_out":0}' >/dev/null
hooks() { curl -s "$PEERS/hooks" | jq '[.[] | select(.body | test("alert.raised.*hall"))] | length'; }
before=$(hooks)
cloud=$(cat "$DIR/cloud.pid")
kill -STOP "$cloud"
trap 'kill -CONT "$cloud"; rm -rf "$T"' EXIT
curl -fsS "$LABHUB/v1/readings" -d '{"sensor":"hall-door-7","count_in":1150,"count_out":0}' >/dev/null
for _ in $(seq 10); do [ "$(hooks)" -gt "$before" ] && break; sleep 0.1; done
[ "$(hooks)" -gt "$before" ] || wrong "no webhook within a second: $(curl -s "$LABHUB/v1/alerts")"
curl -fsS -X PUT "$LABHUB/v1/spaces/hall/count" -H 'Content-Type: application/json' -d '{"count":0}' >/dev/null
