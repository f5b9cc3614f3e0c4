# S2.reading-event  a reading is an event, a read is a projection of it
# doc: cloud.md
. "$(dirname "$0")/lib.sh"
nats_user
(nats_as sub 'ev.acme.hq.reading' --count 1 --raw >"$T/sub" 2>"$T/err") &
for _ in $(seq 50); do grep -qs Subscribing "$T/err" && break; sleep 0.1; done
sleep 1
curl -fsS "$LABHUB/v1/readings" -d "{\"sensor\":\"lobby-people\",\"count_abs\":1}" >/dev/null
for _ in $(seq 100); do [ -s "$T/sub" ] && break; sleep 0.1; done
OUT=$(cat "$T/sub")
has 'lobby-people'
