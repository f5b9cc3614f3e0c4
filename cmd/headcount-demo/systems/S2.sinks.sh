# S2.sinks  events to webhooks, MQTT and NATS; history for analytical databases
# doc: cloud.md
# $ curl -s "$CLOUD/v1/sites/$SITE/history?format=csv&from=-1h" -H "$A" | head -n 2
. "$(dirname "$0")/lib.sh"
crowd 0 && sleep 1 && crowd 30
hooked() { curl -s "$PEERS/hooks" | jq -r '.[] | select(.body | contains("alert.raised")) | .headers["content-type"]' | tail -n1; }
soon hooked
crowd 0
proven ./edge/deliver TestLampByMQTT TestSignatureIsPinned
grep -rqi 'kafka' "$ROOT/docs" || missing "the way to Kafka by the NATS bridge is not documented"
grep -rqi 'clickhouse' "$ROOT/docs" || missing "the export to ClickHouse is not documented"
