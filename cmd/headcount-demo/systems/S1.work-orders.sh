# S1.work-orders  tickets: work orders with a table of states, opened by hand or from an alert
# doc: workorders.md#states
# $ W=$(curl -s $CLOUD/v1/work-orders -H "$A" -d "{\"site\":\"$SITE\",\"title\":\"door sticks\"}" | jq -r .id)
# $ curl -s $CLOUD/v1/work-orders/$W/move -H "$A" -d '{"to":"in_progress","version":1}' | jq -r .state
# $ curl -s $CLOUD/v1/work-orders/$W/move -H "$A" -d '{"to":"closed","version":2}' | jq -r .status
# $ curl -s "$CLOUD/v1/work-orders/$W?view=ticket" -H "$A" | jq -r .status
# $ curl -s $CLOUD/v1/work-orders/$W/history -H "$A" | jq length
# > in_progress
# > 409
# > In Progress
. "$(dirname "$0")/lib.sh"
# Of ten who move the same version at once one wins.
for i in $(seq 10); do status "$CLOUD/v1/work-orders/$W/move" -H "$A" -d '{"to":"resolved","version":2}' >"$T/won.$i" & done
wait
OUT=$(for i in $(seq 10); do cat "$T/won.$i"; echo; done | sort | uniq -c | tr -s ' ')
has '1 200'
has '9 409'
curl -s "$CLOUD/v1/work-orders/board" -H "$A" | grep -q '"resolved"'
proven ./cloud/workorders TestTableIsWhatWasAgreed TestOnlyListedTransitions TestOfManyWhoMoveAtOnceOneWins TestAnAlertHasOneWorkOrder
