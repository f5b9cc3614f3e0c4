# S1.chat  notes of a work order, live
# doc: workorders.md#chat
. "$(dirname "$0")/lib.sh"
W=$(curl -s "$LAB/v1/work-orders" -H "$L" -d '{"site":"hq","title":"talk"}' | jq -r .id)
ws() { (cd "$SYSTEMS" && exec timeout 25 node_modules/.bin/wscat --no-color -c "$@" < <(sleep 20)); } # it ends with its input
bob=$(as bob) mia=$(as mia)
ws "ws://${LAB#http://}/ws/chat/$W/?token=${bob#*Bearer }" -w 9 -x '{"type":"note","text":"bob is here","ref":"0"}' >"$T/bob" 2>&1 &
for _ in $(seq 50); do grep -qs history "$T/bob" && break; sleep 0.1; done
ws "ws://${LAB#http://}/ws/chat/$W/?token=${mia#*Bearer }" -w 3 -x '{"type":"note","text":"the lamp is out, @bob","ref":"1"}' >"$T/mia" 2>&1
for _ in $(seq 50); do grep -qs 'lamp is out' "$T/bob" && break; sleep 0.1; done
OUT=$(cat "$T/bob" "$T/mia")
grep -q 'lamp is out' "$T/bob" || wrong "bob did not see it: $OUT"
has '"accepted"'
mentioned() { curl -s "$LAB/v1/inbox" -H "$bob" | jq -re '.items[] | select(.title + .text | test("mention|lamp"; "i")) | .title'; }
soon mentioned
proven ./cloud/workorders TestTwoClientsSeeEachOther TestAGuestSeesWhatIsSaidFromItsJoining
