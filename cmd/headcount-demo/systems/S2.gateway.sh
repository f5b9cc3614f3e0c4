# S2.gateway  one port for all: CORS, login, access log
# doc: gateway.md
# $ curl -si $CLOUD/sensor/rooms -H "$A" -H 'X-Correlation-ID: mine-1' | tr -d '\r' | grep -i '^x-correlation-id'
# $ curl -s -o /dev/null -w 'without login %{http_code}\n' $CLOUD/sensor/rooms
# > mine-1
# > without login 401
. "$(dirname "$0")/lib.sh"
curl -s "$LAB/sensor/rooms" -H "$L" -H 'X-Correlation-ID: mine-2' >/dev/null
soon grep -o 'msg=request method=GET route=/sensor/rooms.*correlation=mine-2' "$DIR/cloud.log"
