# S0.bus  events in a durable stream: whoever was down catches up
# doc: operations.md
. "$(dirname "$0")/lib.sh"
nats_user
(nats_as sub 'ev.acme.>' --count 1 --raw >"$T/sub" 2>"$T/err") &
for _ in $(seq 50); do grep -qs Subscribing "$T/err" && break; sleep 0.1; done
sleep 1
crowd 3 && sleep 1 && crowd 0
for _ in $(seq 100); do [ -s "$T/sub" ] && break; sleep 0.1; done
[ -s "$T/sub" ] || wrong "nothing published: $(cat "$T/err")"
proven ./cloud/publish TestAConsumerThatWasDownCatchesUp TestTheSameEventTwiceHasTheSameId TestWithoutNATSEventsWait
