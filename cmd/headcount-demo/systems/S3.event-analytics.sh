# S3.event-analytics  how often what happened, denials, availability
# doc: analytics.md
# $ for p in events access availability; do curl -s "$CLOUD/v1/sites/$SITE/analytics/$p" -H "$A" | jq -c keys; done
# > alerts
# > doors
# > sensors
. "$(dirname "$0")/lib.sh"
proven ./cloud/analytics TestAlertsCountOnceWithTheirTimes TestAccessPerDoorAndHour TestAvailability
