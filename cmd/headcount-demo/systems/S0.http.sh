# S0.http  sensors that POST, answered after the commit
# doc: drivers.md#httppush
# $ curl -s -X POST $HUB/v1/readings -d '{"sensor":"count-entrance","count_in":3,"count_out":1}'
# > "accepted":1
. "$(dirname "$0")/lib.sh"
n=$(date +%s)
OUT=$(curl -fsS "$LABHUB/v1/readings" -d "{\"sensor\":\"hall-door-7\",\"seq\":$n,\"count_in\":5000,\"count_out\":$n}")
kill9 hub
has '"accepted":1'
back "$LABHUB"
stored() { curl -fs "$LABHUB/v1/sensors/hall-door-7/readings?from=-10m" | grep -o "$n" | head -n1; }
soon stored
