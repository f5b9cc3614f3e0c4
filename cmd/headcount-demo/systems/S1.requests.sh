# S1.requests  parts of the tier answer requests over NATS
# doc: operations.md#services
. "$(dirname "$0")/lib.sh"
nats_user
OUT=$(nats_as req svc.twin.sites '{}' -H "Authorization:Bearer $LABTOKEN" --timeout 5s --raw)
has '"id":"hq"'
OUT=$(nats_as req svc.twin.sites '{}' -H "Authorization:Bearer $(as eve | cut -d' ' -f3)" --timeout 5s --raw)
grep -q '"id":"hq"' <<<"$OUT" && wrong "another organisation's user sees hq: $OUT"
proven ./cloud/services TestMicroServicesOfPartsAndHubs
