# S0.socketio  sensors that send by Socket.IO, many on one connection, acknowledged after the commit
# doc: sockets.md#sensors-that-send-over-socketio
. "$(dirname "$0")/lib.sh"
n=$(date +%s)
OUT=$(node "$SYSTEMS/sensor.mjs" "$LABHUB" "$n")
kill9 hub
has '"accepted":1'
back "$LABHUB"
stored() { curl -fs "$LABHUB/v1/sensors/lobby-people/readings?from=-10m" | grep -o "$n" | head -n1; }
soon stored
TAGS=integration proven ./edge/live/socketiotest TestIntegrationAcknowledgedIsStored
