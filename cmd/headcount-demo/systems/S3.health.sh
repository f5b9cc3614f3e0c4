# S3.health  health with checks, the same for the service manager
# doc: service.md
# $ for u in $HUB $CLOUD; do for p in /health /health/live /health/ready; do curl -s $u$p; echo; done; done
# > "checks":\[
. "$(dirname "$0")/lib.sh"
# Without its cloud the hub is degraded, not dead.
cloud=$(cat "$DIR/cloud.pid")
kill -STOP "$cloud"
trap 'kill -CONT "$cloud"; rm -rf "$T"' EXIT
is "$(status "$LABHUB/health/live")" 200
degraded() { curl -s "$LABHUB/health" | jq -re 'select(.status != "UP") | .status'; }
for _ in $(seq 4); do (soon degraded) && break; done
is "$(degraded)" DEGRADED
kill -CONT "$cloud"
proven ./edge/hub TestWatchdogStarvesWhenTheEngineIsStuck
