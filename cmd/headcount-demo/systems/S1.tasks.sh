# S1.tasks  sub-tasks with their own assignee hold the order
# doc: workorders.md#api
# $ W=$(curl -s $CLOUD/v1/work-orders -H "$A" -d "{\"site\":\"$SITE\",\"title\":\"paint\"}" | jq -r .id)
# $ K=$(curl -s $CLOUD/v1/work-orders/$W/tasks -H "$A" -d '{"title":"buy paint"}' | jq -r '.id // .tasks[0].id')
# $ V=$(curl -s $CLOUD/v1/work-orders/$W -H "$A" | jq .version)
# $ curl -s $CLOUD/v1/work-orders/$W/move -H "$A" -d "{\"to\":\"resolved\",\"reason\":\"done\",\"version\":$V}" | jq -c '[.status, .detail]'
# > ^\[409,
. "$(dirname "$0")/lib.sh"
proven ./cloud/workorders TestSubTasksHoldTheOrder
