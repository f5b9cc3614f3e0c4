# S4.accounts  register, verify, reset, deactivate
# doc: accounts.md#logging-in
. "$(dirname "$0")/lib.sh"
who=n$(date +%s)@acme.example
is "$(status "$LAB/auth/register" -d "{\"email\":\"$who\",\"name\":\"New\",\"password\":\"quite a long password\"}" | cut -c1)" 2
link() { curl -s "$PEERS/mails" | jq -re "[.[] | select(.to[0] == \"$who\") | .text | scan(\"http://[^ \\r\\n<>\\\"]+\")] | last"; }
soon link
t=${OUT##*[=/#]}
is "$(status "$LAB/auth/verify" -H "Content-Type: application/json" -d "{\"token\":\"$t\"}" | cut -c1)" 2
is "$(status "$LAB/auth/verify" -H "Content-Type: application/json" -d "{\"token\":\"$t\"}" | cut -c1)" 4
is "$(status "$LAB/auth/reset/request" -d "{\"email\":\"$who\"}" | cut -c1)" 2
old=$OUT
reset() { link | grep -v -F "$old"; }
soon reset
is "$(status "$LAB/auth/reset" -H "Content-Type: application/json" -d "{\"token\":\"${OUT##*[=/#]}\",\"password\":\"another long password\"}" | cut -c1)" 2
N="Authorization: Bearer $(login "$LAB" "$who" 'another long password')"
is "$(status "$LAB/auth/me" -H "$N")" 200
id=$(curl -s "$LAB/auth/me" -H "$N" | jq -r .subject)
# An open stream of somebody who is deactivated ends.
vic=$(as vic)
vid=$(curl -s "$LAB/auth/me" -H "$vic" | jq -r .subject)
curl -sN -m 60 "$LAB/v1/stream" -H "$vic" >"$T/stream" && echo ended >"$T/ended" &
for _ in $(seq 50); do grep -qs snapshot "$T/stream" && break; sleep 0.1; done
is "$(status -X POST "$LAB/v1/users/$vid/deactivate" -H "$L" | cut -c1)" 2
is "$(status "$LAB/v1/sites" -H "$vic")" 401
for _ in $(seq 300); do [ -e "$T/ended" ] && break; sleep 0.2; done
curl -s -X POST "$LAB/v1/users/$vid/reactivate" -H "$L" >/dev/null
[ -e "$T/ended" ] || wrong "the stream of a deactivated user is still open after 60 s"
proven ./cloud/steer TestHubsAreToldByWhatToVerify
