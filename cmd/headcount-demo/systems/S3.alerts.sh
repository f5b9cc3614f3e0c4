# S3.alerts  raised, acknowledged, cleared, at the hub and at the cloud
# doc: notifications.md
. "$(dirname "$0")/lib.sh"
crowd 0 && sleep 12 && crowd 33
alert() { curl -s "$LAB/v1/sites/hq/alerts" -H "$L" | jq -re '[.alerts[] | select(.rule == "crowd" and .state == "firing" and .acknowledged == null)][0].id // empty'; }
soon alert
is "$(status -X POST "$LAB/v1/sites/hq/alerts/$OUT/acknowledge" -H "$L" -d '{"note":"on my way"}')" 200
id=$OUT
acknowledged() { curl -s "$LABHUB/v1/alerts" | jq -r ".alerts[] | select(.id == \"$id\") | .acknowledged_by // empty"; }
soon acknowledged
crowd 0
cleared() { curl -s "$LAB/v1/sites/hq/alerts" -H "$L" | jq -re ".alerts[] | select(.id == \"$id\" and .state != \"firing\") | .state"; }
soon cleared
