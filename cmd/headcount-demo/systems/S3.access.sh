# S3.access  badges and doors: counts, forced doors, replayed alike
# doc: access.md
# $ curl -s "$HUB/v1/events?type=access.*,door.*&limit=5" | jq '.events | length'
. "$(dirname "$0")/lib.sh"
curl -fsS "$LABHUB/v1/push/access" -d "{\"event\":\"access.granted\",\"reader\":\"reader-1\",\"direction\":\"in\",\"method\":\"card\",\"badge\":\"04A2B3C4\",\"id\":\"e-$(date +%s%N)\"}" >"$T/in"
OUT=$(curl -s "$LABHUB/v1/events?type=access.granted&limit=1000")
has '"direction":"in"'
grep -q 04A2B3C4 <<<"$OUT" && wrong "the badge is in the events as it came"
mosquitto_pub -h 127.0.0.1 -p "$LABMQTT" -q 1 -t access/entrance -m '{"event":"door.forced","reader":"reader-1"}'
forced() { curl -s "$LABHUB/v1/alerts" | jq -re '.alerts[] | select(.rule == "door-forced" and .severity == "critical") | .id'; }
soon forced
proven ./edge/hub TestBadgesByAllTransports TestAForcedDoorIsToldWithinASecond
proven ./edge/doors TestTheSameReadingsGiveTheSameEvents
