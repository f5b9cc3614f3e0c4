# S2.live  send, events, live by WebSocket and Server-Sent Events, resumed
# doc: sockets.md
# $ curl -s "$CLOUD/v1/sites/$SITE/events?limit=2" -H "$A" | jq '.events | length'
# $ curl -sN -m 2 "$CLOUD/v1/stream" -H "$A" | grep -m1 '^event: snapshot'
# > event: snapshot
. "$(dirname "$0")/lib.sh"
is "$(status "$LAB/v1/sites/hq/events" -H "$L")" 200
is "$(status "$LAB/notifications/send" -H "$L" -d "{\"org\":\"acme\",\"title\":\"t\",\"text\":\"x\",\"roles\":[\"admin\"]}" | cut -c1)" 2
# An alert of the hub comes by WebSocket.
(cd "$SYSTEMS" && exec timeout 40 node_modules/.bin/wscat --no-color -c "ws://${LAB#http://}/ws/notifications?token=$LABTOKEN" < <(sleep 35)) >"$T/ws" 2>&1 &
crowd 0 && sleep 12 && crowd 30 # counts are published every 5 s at most: the last alert has to clear first
for _ in $(seq 100); do grep -qs alert.raised "$T/ws" && break; sleep 0.1; done
grep -q alert.raised "$T/ws" || wrong "no alert by WebSocket: $(cat "$T/ws")"
crowd 0
# Cut and resumed from the last id.
id=$({ curl -sN -m 2 "$LAB/v1/stream" -H "$L" || true; } | sed -n 's/^id: //p' | tail -n1)
crowd 40
resumed() { { curl -sN -m 2 "$LAB/v1/stream" -H "$L" -H "Last-Event-ID: $id" || true; } | grep -m1 -E '^event: (alert|occupancy)'; }
soon resumed
crowd 0
proven ./cloud/tier TestEventReachesTheStreamAndResumesAcrossRestart
