# S1.sms  text messages by a provider's URL, or by a modem at the hub
# doc: notifications.md#at-the-hub-actions
. "$(dirname "$0")/lib.sh"
# The hub by itself, by the provider's URL (the lab's hub has the action).
crowd 0 && sleep 1 && crowd 20
sent() { curl -s "$PEERS/sms" | jq -e '.[] | select(.to == "+4790000000") | .text'; }
soon sent
crowd 0
# The cloud, by a channel.
status -X DELETE "$LAB/v1/orgs/acme/channels/sms" -H "$L" >/dev/null
is "$(status "$LAB/v1/orgs/acme/channels" -H "$L" -d "{\"name\":\"sms\",\"spec\":{\"kind\":\"sms\",\"url\":\"$PEERS/text?to={to}&text={text}\",\"to\":[\"+4791111111\"]}}")" 201
is "$(status -X POST "$LAB/v1/orgs/acme/channels/sms/test" -H "$L")" 200
sent() { curl -s "$PEERS/sms" | jq -e '.[] | select(.to == "+4791111111") | .text'; }
soon sent
# By AT commands, to a modem on a pseudo terminal.
proven ./edge/deliver TestTextMessageByModem TestModemThatWantsAPIN TestModemThatFails TestSMSByHTTP
