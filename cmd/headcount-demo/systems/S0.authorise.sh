# S0.authorise  each process decides by the token alone, by role and organisation
# doc: tokens.md
# $ curl -s $CLOUD/.well-known/jwks.json | jq -c '[.keys[0].kty, .keys[0].crv]'
# $ headcount token inspect $TOKEN | grep -A 4 memberships
# > \["OKP","Ed25519"\]
# > demo
. "$(dirname "$0")/lib.sh"
curl -s "$CLOUD/.well-known/jwks.json" >"$T/jwks"
headcount token inspect --jwks "$T/jwks" "$TOKEN" >/dev/null
# A role that becomes less counts at once.
id=$(curl -s "$LAB/v1/orgs/acme/users?q=bob" -H "$L" | jq -r '.users[0].id')
B=$(as bob)
is "$(status "$LAB/v1/sites/hq" -H "$B")" 200
is "$(status "$LAB/v1/users/$id/memberships" -H "$L" -d '{"domain":"acme","role":"viewer"}' | cut -c1)" 2
is "$(status "$LAB/v1/sites/hq" -H "$B")" 401
is "$(status "$LAB/v1/users/$id/memberships" -H "$L" -d '{"domain":"acme","role":"operator"}' | cut -c1)" 2
proven ./cloud/tier TestRouteMatrix TestWhatIsHiddenIsAnsweredAsIfItWereNotThere
proven ./edge/api TestEveryRouteByEveryCaller
# Verified 50 memberships in less than 10 ms.
go -C "$ROOT" test -run '^$' -bench 'Verify' -benchtime 100x ./sync/token >"$T/bench"
OUT=$(cat "$T/bench")
has 'ns/op'
awk '/ns\/op/ && $3 > 10000000 {exit 1}' "$T/bench" || wrong "verification takes more than 10 ms: $OUT"
