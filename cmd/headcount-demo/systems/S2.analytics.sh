# S2.analytics  summary, trends, forecast with its error, reports
# doc: analytics.md
# $ curl -s "$CLOUD/analytics/summary?site=$SITE" -H "$A" | jq '.groups | length'
# $ curl -s "$CLOUD/analytics/trends?site=$SITE&every=1h" -H "$A" | jq 'keys' -c
# $ curl -s "$CLOUD/v1/sites/$SITE/analytics/forecast" -H "$A" | jq 'keys' -c
# > "heat_?map"
# > "mae"
. "$(dirname "$0")/lib.sh"
for format in csv xlsx; do
	is "$(status "$CLOUD/v1/sites/$SITE/reports" -H "$A" -d "{\"kind\":\"summary\",\"format\":\"$format\"}" | cut -c1)" 2
	R=$(jq -r .id "$T/body")
	file() { [ "$(status "$CLOUD/analytics/reports/$R/download" -H "$A")" = 200 ] && head -c 100 "$T/body" | tr -d '\0'; }
	soon file
done
has '^PK'
proven ./cloud/analytics TestSummaryOfAKnownDay TestDaysOfChangingClocks TestLateEventsGiveTheSameHours TestForecastTellsItsError TestSchedulesAreKeptOnTheSitesClock TestHolidaysAndHours
