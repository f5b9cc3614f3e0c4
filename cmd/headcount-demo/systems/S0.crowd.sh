# S0.crowd  the hub finds the crowd and acts by itself
# doc: notifications.md#at-the-hub-actions
. "$(dirname "$0")/lib.sh"
# The cloud is stopped; twelve people pass the lab's door; the webhook is called within a second.
crowd 0
sleep 12 # occupancies that change again and again are published every few seconds, the first change at once
hooks() { curl -s "$PEERS/hooks" | jq "[.[] | select(.body | test(\"alert.raised.*crowd.lobby\"))] | length"; }
before=$(hooks)
cloud=$(cat "$DIR/cloud.pid")
kill -STOP "$cloud"
trap 'kill -CONT "$cloud"; rm -rf "$T"' EXIT
for i in $(seq 12); do echo "{\"event\":\"access.granted\",\"reader\":\"reader-1\",\"direction\":\"in\",\"id\":\"c-$i-$$\"}"; done | curl -fsS "$LABHUB/v1/push/access" --data-binary @- >/dev/null
for _ in $(seq 10); do [ "$(hooks)" -gt "$before" ] && break; sleep 0.1; done
[ "$(hooks)" -gt "$before" ] || wrong "no webhook within a second: $(curl -s "$LABHUB/v1/alerts")"
crowd 0
