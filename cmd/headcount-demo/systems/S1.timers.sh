# S1.timers  reminders, closing by itself, drafts that expire
# doc: workorders.md#states
# $ W=$(curl -s $CLOUD/v1/work-orders -H "$A" -d "{\"site\":\"$SITE\",\"title\":\"look again\",\"assignee\":\"$(curl -s $CLOUD/auth/me -H "$A" | jq -r .subject)\"}" | jq -r .id)
# $ curl -s -o /dev/null -w 'reminder %{http_code}\n' $CLOUD/v1/work-orders/$W/reminders -H "$A" -d '{"text":"please"}'
# $ curl -s $CLOUD/v1/inbox -H "$A" | jq -r '.items[].title'
# > reminder 20
. "$(dirname "$0")/lib.sh"
proven ./cloud/workorders TestResolvedClosesAfterAReminder TestADraftIsItsAuthorsAndExpires TestRemindersByHand TestPostponedUntilComesBackByItself
