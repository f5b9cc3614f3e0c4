# S4.dead-letters  dead letters by command and by API
# doc: notifications.md#dead-letters
# $ curl -s "$CLOUD/v1/dead-letters" -H "$A"
. "$(dirname "$0")/lib.sh"
headcount-cloud dlq ls --config "$DIR/cloud/cloud.yaml" >/dev/null
proven ./cloud/notify TestDeadLettersAreListedRetriedAndDropped TestWhatCannotBeDeliveredIsGivenUp
