# S1.refresh  refresh tokens are good once; using one again ends the login
# doc: accounts.md#logging-in
# $ R=$(curl -s $CLOUD/auth/login -d "{\"email\":\"$EMAIL\",\"password\":\"$PASSWORD\"}" | jq -r .refresh_token)
# $ N=$(curl -s $CLOUD/auth/refresh -d "{\"refresh_token\":\"$R\"}" | jq -r .access_token)
# $ curl -s -o /dev/null -w 'new %{http_code}\n' $CLOUD/v1/sites -H "Authorization: Bearer $N"
# $ curl -s -o /dev/null -w 'again %{http_code}\n' $CLOUD/auth/refresh -d "{\"refresh_token\":\"$R\"}"
# $ curl -s -o /dev/null -w 'family %{http_code}\n' $CLOUD/v1/sites -H "Authorization: Bearer $N"
# > new 200
# > again 401
# > family 401
. "$(dirname "$0")/lib.sh"
is "$(cut -d. -f2 <<<"$N" | basenc -d --base64url -i 2>/dev/null | jq '.exp - .iat <= 900')" true
