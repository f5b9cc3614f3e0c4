# S3.services  what runs: NATS micro services, a catalogue, hubs among them
# doc: operations.md#services
# $ curl -s $CLOUD/services -H "$A" | jq -r '.services[] | [.name, .status] | join(" ")'
# > headcount-hub UP
# > headcount-twin UP
. "$(dirname "$0")/lib.sh"
nats_user
OUT=$(nats_as micro ls 2>&1)
has headcount-hub
OUT=$(nats_as micro info headcount-twin 2>&1)
has svc.twin.sites
OUT=$(nats_as micro stats headcount-twin 2>&1)
proven ./cloud/services TestAServiceThatRegistersIsListedUntilItFallsSilent TestPicksGoRound
proven ./cloud/twin TestSilentHubIsShownStaleAndRaisedOnce TestStaleAfterThreeBeats
grep -rq 'hashicorp/mdns' "$ROOT/edge" --include='*.go' || missing "hubs are not announced by mDNS yet"
