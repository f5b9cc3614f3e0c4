# S3.service-tokens  tokens of services, with audience and permissions
# doc: accounts.md#managing-people
# $ S=$(curl -s $CLOUD/v1/orgs/demo/services -H "$A" -d '{"name":"board-'$RANDOM'","role":"viewer","permissions":["read"]}' | jq -r .token)
# $ curl -s -o /dev/null -w 'read %{http_code}\n' $CLOUD/v1/sites -H "Authorization: Bearer $S"
# $ curl -s -o /dev/null -w 'write %{http_code}\n' $CLOUD/v1/work-orders -H "Authorization: Bearer $S" -d '{"site":"demo","title":"x"}'
# $ O=$(curl -s $CLOUD/v1/orgs/demo/services -H "$A" -d '{"name":"other-'$RANDOM'","role":"viewer","permissions":["read"],"audience":["elsewhere"]}' | jq -r .token)
# $ curl -s -o /dev/null -w 'elsewhere %{http_code}\n' $CLOUD/v1/sites -H "Authorization: Bearer $O"
# > read 200
# > write 403
# > elsewhere 401
. "$(dirname "$0")/lib.sh"
