# S1.approvals  a second person approves, by a link that works once
# doc: workorders.md#approvals
. "$(dirname "$0")/lib.sh"
M=$(as mia)
W=$(curl -s "$LAB/v1/work-orders" -H "$M" -d '{"site":"hq","title":"open the second hall"}' | jq -r .id)
curl -fs "$LAB/v1/work-orders/$W/move" -H "$M" -d '{"to":"in_progress","version":1}' >/dev/null
curl -fs "$LAB/v1/work-orders/$W/move" -H "$M" -d '{"to":"waiting_approval","reason":"a second hall","cost":"1200 NOK","version":2}' >/dev/null
P=$(curl -s "$LAB/v1/work-orders/$W/approvals" -H "$M" | jq -r '[.. | .id? // empty][0]')
is "$(status "$LAB/v1/work-orders/$W/approvals/$P" -H "$M" -d '{"decision":"approve"}')" 403 # one's own
link() { curl -s "$PEERS/mails" | jq -re "[.[] | select(.to[0] == \"ann@acme.example\") | .text | scan(\"/v1/approvals/[A-Za-z0-9_.-]+\")] | last"; }
soon link
is "$(status "$LAB$OUT")" 200
is "$(status -X POST "$LAB$OUT" -d 'decision=approve')" 200
is "$(status -X POST "$LAB$OUT" -d 'decision=approve')" 410
is "$(curl -s "$LAB/v1/work-orders/$W" -H "$M" | jq -r .state)" approved
