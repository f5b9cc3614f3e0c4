# S4.discovery  services found by NATS or by the catalogue
# doc: operations.md#services
# $ curl -s $CLOUD/v1/services/headcount-twin/pick -H "$A" | jq -c '[.name, .url]'
# > headcount-twin","http
. "$(dirname "$0")/lib.sh"
proven ./cloud/services TestPicksGoRound TestMicroServicesOfPartsAndHubs
