# S3.contacts  users, teams and recipients; deals are out, and said to be
# doc: systems.md#not-there-on-purpose
# $ curl -s $CLOUD/v1/orgs/demo/users -H "$A" | jq '.users | length'
# > ^[1-9]
. "$(dirname "$0")/lib.sh"
grep -q 'Deals, payments and orders' "$ROOT/docs/systems.md"
