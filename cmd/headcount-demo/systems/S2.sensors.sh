# S2.sensors  sensors and their data, at the hub and over all sites
# doc: api.md
# $ curl -s -X POST $HUB/sensors/data -d '{"sensor":"count-entrance","count_in":1,"count_out":0}'
# $ curl -s -X POST $HUB/v1/readings -d '[{"sensor":"count-entrance","count_in":"many"},{"sensor":""}]'
# $ curl -s $HUB/sensors | jq '.sensors | length'
# $ curl -s "$CLOUD/sensors" -H "$A" | jq '.sensors | length'
# $ curl -s "$HUB/sensors/count-entrance/data?limit=1" | jq '.readings | length'
# > "accepted":1
# > "rejected":\[.*count_in
# > ^[5-9][0-9]$
. "$(dirname "$0")/lib.sh"
# A thousand readings at the lab's hub, by pages at the cloud: each once.
lines=$(seq 1 1000 | sed "s/.*/{\"sensor\":\"hall-door-7\",\"seq\":&,\"count_in\":$(date +%s),\"count_out\":&}/")
curl -fsS -X POST "$LABHUB/v1/readings" --data-binary "$lines" -H 'Content-Type: application/x-ndjson' >"$T/in"
proven ./cloud/twin TestSensorDataIsPagedWithoutRepetition
proven ./edge/api TestPagesOfReadingsRepeatNone
