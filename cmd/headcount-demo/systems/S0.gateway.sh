# S0.gateway  one origin, TLS by our own listener, or by Caddy and nginx in front
# doc: gateway.md
# $ for p in auth/oidc twin/buildings sensor/sensors notification/notifications/send socket.io/ v1/sites; do curl -s -o /dev/null -w "$p %{http_code}\n" $CLOUD/$p -H "$A"; done
# > twin/buildings 200
# > sensor/sensors 200
# > v1/sites 200
# > notification/notifications/send 40[0-9]
# > socket.io/ 400
. "$(dirname "$0")/lib.sh"
# A tier of its own that makes its certificate; TLS 1.3 with curl by name and address.
printf 'admin:0123456789abcdef0123\n' >"$T/tokens" && chmod 600 "$T/tokens"
cat >"$T/tls.yaml" <<-END
	data: data
	http: {listen: "0.0.0.0:0", token_file: tokens, hosts: [headcount.test]}
	nats: {listen: "127.0.0.1:0"}
END
(cd "$T" && exec headcount-cloud run --config tls.yaml >tls.log 2>&1) &
soon grep -o 'https://[^ ]*' "$T/tls.log"
port=${OUT##*:}
OUT=$(curl -sv --tlsv1.3 --cacert "$T/data/http-cert.pem" --resolve "headcount.test:$port:127.0.0.1" "https://headcount.test:$port/health" 2>&1)
has 'TLSv1.3'
has '"status":"UP"'
grep -q 'self-signed, SHA-256' "$T/tls.log" || wrong "no fingerprint is printed"
TAGS=integration proven ./cloud/tier TestIntegrationBehindCaddy TestIntegrationBehindNginx
