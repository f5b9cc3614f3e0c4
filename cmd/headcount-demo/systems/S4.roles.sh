# S4.roles  decode locally, ask for roles where that is wanted
# doc: accounts.md#logging-in
# $ curl -s $CLOUD/auth/users/$(curl -s $CLOUD/auth/me -H "$A" | jq -r .subject)/roles -H "$A"
# > "role":"admin"
. "$(dirname "$0")/lib.sh"
