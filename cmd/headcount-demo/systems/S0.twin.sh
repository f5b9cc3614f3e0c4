# S0.twin  buildings and rooms, with ETag, by role and organisation
# doc: twin.md
# $ curl -s $CLOUD/twin/buildings -H "$A" -d '{"id":"123","domain":"demo","name":"North"}' | jq -c '[.id, .domains]'
# $ curl -s $CLOUD/twin/buildings/$SITE/rooms -H "$A" | jq '.rooms | length'
# $ curl -s -o /dev/null -w 'delete %{http_code}\n' -X DELETE $CLOUD/twin/buildings/123 -H "$A"
# > \["123",\["demo"\]\]
# > ^2[0-9]$
# > delete 20
. "$(dirname "$0")/lib.sh"
make() { is "$(status "$LAB/twin/buildings" -H "$L" -d '{"id":"t123","domain":"acme","name":"North"}')" 201; }
make
is "$(status -X DELETE "$LAB/twin/buildings/t123" -H "$(as bob)")" 403
is "$(status -X DELETE "$LAB/twin/buildings/t123" -H "$(as eve)")" 404
is "$(status -X PATCH "$LAB/twin/buildings/t123" -H "$L" -H 'If-Match: "99"' -d '{"city":"Bergen"}')" 412
is "$(status -X PATCH "$LAB/twin/buildings/t123" -H "$L" -H 'If-Match: "1"' -d '{"city":"Bergen"}')" 200
case $(status -X DELETE "$LAB/twin/buildings/t123" -H "$L") in 20*) ;; *) wrong "delete: $(cat "$T/body")" ;; esac
# Desired configuration goes down and its fate comes up: applied on a revision.
etag=$(curl -sI -X GET "$LAB/v1/sites/hq/twin/desired" -H "$L" | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
is "$(status -X PATCH "$LAB/v1/sites/hq/twin/desired" -H "$L" -H "If-Match: $etag" -d '{"spaces":[{"id":"attic","kind":"room","parent":"floor-1","capacity":5}]}')" 200
applied() { curl -s "$LAB/v1/sites/hq/twin?q=attic" -H "$L" | jq -e '.. | objects | select(.id? == "attic" and .applied_rev? != null and .applied_rev? == .desired_rev?) | .applied_rev'; }
soon applied
soon curl -fs "$LABHUB/v1/spaces/attic"
printf 'kind,id,name,parent,capacity\nroom,cellar,Cellar,floor-1,3\n' >"$T/rooms.csv"
is "$(status "$LAB/v1/sites/hq/import?dry_run=1" -H "$L" -H 'Content-Type: text/csv' --data-binary "@$T/rooms.csv")" 200
