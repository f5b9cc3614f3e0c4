# S1.users  people from a CSV file, with a dry run
# doc: accounts.md#managing-people
# $ printf 'email,name,domain,role\nkari@headcount.example,Kari,demo,operator\n' > $T/people.csv
# $ curl -s -F file=@$T/people.csv "$CLOUD/v1/orgs/demo/users/import?dry_run=1" -H "$A"
# $ curl -s -F file=@$T/people.csv "$CLOUD/v1/orgs/demo/users/import" -H "$A"
# $ curl -s -F file=@$T/people.csv "$CLOUD/v1/orgs/demo/users/import" -H "$A"
# > kari@headcount.example
. "$(dirname "$0")/lib.sh"
(echo email,name,domain,role; for i in $(seq 500); do echo "p$i@acme.example,Person $i,acme,viewer"; done) >"$T/500.csv"
is "$(status -F "file=@$T/500.csv" "$LAB/v1/orgs/acme/users/import" -H "$L")" 200
is "$(jq -r .created "$T/body")" 500
is "$(status -F "file=@$T/500.csv" "$LAB/v1/orgs/acme/users/import" -H "$L")" 200
is "$(jq -r .unchanged "$T/body")" 500
curl -s "$LAB/v1/orgs/acme/users.csv" -H "$L" | grep -q p500@acme.example
