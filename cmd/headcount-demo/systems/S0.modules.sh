# S0.modules  one database, tables by module, no joins between them
# doc: database.md
. "$(dirname "$0")/lib.sh"
go -C "$ROOT" test -v ./edge -run Import >"$T/imports" 2>&1 || wrong "$(tail "$T/imports")"
grep -q -- '--- PASS: Test' "$T/imports" || wrong "no test of imports"
# Tables of a module begin with its name, and no other module's SQL names them.
cd "$ROOT/cloud"
for m in accounts analytics notify steer twin workorders services; do
	for table in $(grep -ohiE 'CREATE TABLE (IF NOT EXISTS )?[a-z_]+' "$m"/migrations/*.sql | awk '{print $NF}' | sort -u); do
		case $table in "$m"_*) ;; *) wrong "$m has the table $table" ;; esac
		other=$(grep -rlE "(FROM|JOIN|INTO|UPDATE) $table\b" --include='*.go' --exclude='*_test.go' . | grep -v "^./$m/" || true)
		[ -z "$other" ] || wrong "$table of $m is used by $other"
	done
done
