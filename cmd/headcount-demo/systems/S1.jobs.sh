# S1.jobs  work in the background outlives its process, and is given up in the open
# doc: notifications.md#dead-letters
# $ curl -s $CLOUD/v1/sites/$SITE/reports -H "$A" -d '{"kind":"summary","format":"csv"}' | head -c 300
. "$(dirname "$0")/lib.sh"
# Killed between deciding and sending: nothing lost, nothing twice. A report whose process died is made by the next.
proven ./cloud/notify TestKilledBetweenDecidingAndSending TestFailureIsTriedAgainInOrderAcrossRestarts
proven ./cloud/analytics TestReportOfAProcessThatDied
# And a kill for real: mails of the lab are queued by a tier that dies at once, and sent by the next.
n=$(date +%s%N)
me=$(curl -s "$LAB/auth/me" -H "$L" | jq -r .subject)
is "$(status "$LAB/v1/notifications/send" -H "$L" -d "{\"org\":\"acme\",\"title\":\"job $n\",\"text\":\"x\",\"users\":[\"$me\"]}" | cut -c1)" 2
kill9 cloud
back "$LAB"
mailed() { curl -s "$PEERS/mails" | jq -r ".[] | select(.subject | contains(\"$n\")) | .subject"; }
TRIES=450 soon mailed # what the killed process had in hand is taken again after a minute
is "$(wc -l <<<"$OUT")" 1
