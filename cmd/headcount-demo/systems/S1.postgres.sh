# S1.postgres  SQLite by itself, PostgreSQL by a URL; ids are UUIDv7
# doc: database.md
# $ curl -s $CLOUD/auth/me -H "$A" | jq -r .subject
# > ^[0-9a-f]{8}-[0-9a-f]{4}-7
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
.ci/postgres bash -c 'cd "$0" && exec go test -count=1 ./cloud/store ./cloud/accounts ./cloud/workorders' "$ROOT" >"$T/pg" 2>&1 || wrong "$(tail -n 15 "$T/pg")"
OUT=$(cat "$T/pg")
has 'ok .*cloud/store'
has 'ok .*cloud/workorders'
# The binary itself on a server of its own.
cat >"$T/try.sh" <<-'END'
	set -eu
	cd "$T"
	printf 'database: "%s"\ndata: pgdata\nhttp: {listen: "127.0.0.1:0"}\nnats: {listen: "127.0.0.1:0"}\n' "$HEADCOUNT_TEST_POSTGRES" >pg.yaml
	headcount-cloud run --config pg.yaml >pg.log 2>&1 &
	for i in $(seq 100); do url=$(grep -o 'http://[^ ]*' pg.log | head -n 1 || true); [ -n "$url" ] && break; sleep 0.2; done
	curl -fsS "$url/health"
	kill $!
	wait $! || true
END
export T
OUT=$(.ci/postgres bash "$T/try.sh" 2>&1) || wrong "$OUT $(cat "$T/pg.log")"
has '"status":"UP"'
