# S4.composition  one call for a dashboard
# doc: gateway.md#plain-names-of-the-cloud
# $ curl -s "$CLOUD/v1/overview?site=$SITE" -H "$A" | jq '{site: .site.site, rooms: (.spaces | length), open: (.alerts | length)}'
# > "rooms": [0-9]{2}
. "$(dirname "$0")/lib.sh"
