# S3.cameras  cameras that count persons; silent ones are offline
# doc: access.md
. "$(dirname "$0")/lib.sh"
mosquitto_pub -h 127.0.0.1 -p "$LABMQTT" -q 1 -t access/cam-1 -m '{"event":"person.detected","camera":"cam-1","count":3}'
seen() { curl -s "$LABHUB/v1/events?type=person.detected&limit=1000" | jq -re '.events[0].data.camera'; }
soon seen
curl -fsS "$LABHUB/v1/push/access" -d '{"event":"camera.offline","camera":"cam-1"}' >/dev/null
offline() { curl -s "$LABHUB/v1/alerts" | jq -re '.alerts[] | select(.rule == "camera-offline") | .id'; }
soon offline
curl -fsS "$LABHUB/v1/push/access" -d '{"event":"camera.online","camera":"cam-1"}' >/dev/null
proven ./edge/hub TestACameraThatSaysThatItIsOfflineRaisesAnAlert
