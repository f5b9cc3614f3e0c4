# S0.login  accounts, organisations, and a token with memberships
# doc: accounts.md#logging-in
# $ curl -s $CLOUD/auth/login -d "{\"email\":\"$EMAIL\",\"password\":\"$PASSWORD\"}" | jq -r .access_token | cut -d. -f2 | basenc -d --base64url -i 2>/dev/null | jq -c '[.memberships, .aud]'
# > "domain":"demo","role":"admin"
. "$(dirname "$0")/lib.sh"
# Switching organisation: ann sees acme, eve sees globex, neither the other.
is "$(curl -s "$LAB/v1/orgs" -H "$L" | jq -c "[.domains[].domain]")" '["acme"]'
is "$(curl -s "$LAB/v1/orgs" -H "$(as eve)" | jq -c "[.domains[].domain]")" '["globex"]'
# Both shapes of claims are read, of our issuer and of a trusted one with HS256.
proven ./sync/token TestCorpus
proven ./cloud/tier TestTokensOfAnotherIssuerCountInItsDomainsOnly
