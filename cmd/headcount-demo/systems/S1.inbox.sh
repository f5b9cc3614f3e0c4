# S1.inbox  an inbox for each person, with an unread count and preferences
# doc: notifications.md#at-the-cloud
# $ curl -s $CLOUD/v1/notifications/send -H "$A" -d "{\"org\":\"demo\",\"title\":\"Hello\",\"text\":\"from the shell\",\"users\":[\"$(curl -s $CLOUD/auth/me -H "$A" | jq -r .subject)\"]}"
# $ curl -s $CLOUD/v1/inbox -H "$A" | jq -c '[.unread, .items[0].title]'
# $ curl -s -X POST $CLOUD/v1/inbox/read -H "$A" -d '{}'; curl -s $CLOUD/v1/inbox/unread -H "$A"
# $ curl -s $CLOUD/v1/preferences -H "$A"
# > ,"Hello"\]
# > "unread":0
. "$(dirname "$0")/lib.sh"
node "$SYSTEMS/inbox.mjs" "$CLOUD" "$TOKEN" # the event inbox.added by Socket.IO in less than 3 s
