# S3.breaker  outbound calls behind a circuit breaker, its state in metrics and status
# doc: notifications.md#metrics
# $ curl -s $CLOUD/health -H "$A"
# > "status":"UP"
. "$(dirname "$0")/lib.sh"
OUT=$(curl -s "$LABHUB/v1/status" | jq -c .actions)
has '"breaker":"closed"'
# Five failures against a real receiver open it.
curl -s "$PEERS/fail" >/dev/null
for i in 1 2 3 4 5 6; do crowd 0; sleep 0.5; crowd $((20 + i)); sleep 0.5; done
open() { curl -s "$LABHUB/v1/status" | jq -re '.actions[] | select(.name == "hook" and .breaker != "closed") | .breaker'; }
soon open
curl -s "$PEERS/mend" >/dev/null
crowd 0
proven ./edge/deliver TestBreakerOpensAfterFiveAndTriesAgainAfterAMinute
