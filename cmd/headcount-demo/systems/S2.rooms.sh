# S2.rooms  rooms with counts, capacity, quality, sources and history
# doc: gateway.md#plain-names-of-the-cloud
# $ curl -s $HUB/rooms/lobby/metrics
# $ curl -s "$HUB/rooms/lobby/history?from=-1h&interval=5m" | head -c 300
# $ curl -s $CLOUD/rooms/lobby/metrics -H "$A"
# > "capacity":60
# > "stale":false
# > "sources":\[
. "$(dirname "$0")/lib.sh"
proven ./cloud/twin TestSilentHubIsShownStaleAndRaisedOnce TestHistoryIsTheStepFunction
