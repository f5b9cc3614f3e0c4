# S4.schemas  events have schemas and versions, old ones are read
# doc: operations.md
# $ curl -s $CLOUD/v1/schemas -H "$A" | jq -r '[.schemas[].type] | unique | join(" ")'
# > occupancy.changed
. "$(dirname "$0")/lib.sh"
proven ./cloud/schema TestOldVersionsAreReadAsTheNewest
proven ./sync/wire TestGoldenBatchesDecode TestGoldenBodies
