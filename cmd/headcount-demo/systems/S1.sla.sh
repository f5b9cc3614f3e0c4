# S1.sla  deadlines by priority on a calendar, paused while postponed
# doc: workorders.md#deadlines
# $ curl -s -X PUT $CLOUD/v1/orgs/demo/work-order-templates/default -H "$A" -d '{"zone":"Europe/Oslo","respond":{"high":"2h"},"resolve":{"high":"16h"}}' | jq -c .resolve
# $ curl -s $CLOUD/v1/work-orders -H "$A" -d "{\"site\":\"$SITE\",\"title\":\"cold\",\"priority\":\"high\"}" | jq -c .deadlines
# > "high":"16h
# > resolve_by
. "$(dirname "$0")/lib.sh"
# By a clock that the tests set: days with 23 and 25 hours, a restart in between, pauses, breaches.
proven ./cloud/workorders TestDeadlinesOverChangesOfTheClock TestTimersOutliveAProcess TestNoTimePassesWhilePostponed TestAMissedDeadlineIsToldOnce
