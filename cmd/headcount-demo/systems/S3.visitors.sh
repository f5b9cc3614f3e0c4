# S3.visitors  expected visitors: planned occupancy from calendars, next to the measured
# doc: analytics.md
# $ printf 'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:v1\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:%s\r\nDURATION:PT2H\r\nSUMMARY:Visit\r\nLOCATION:lobby\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n' $(date -u +%Y%m%dT%H0000Z) > $T/visit.ics
# $ curl -s "$CLOUD/v1/sites/$SITE/plans/import?space=lobby" -H "$A" -H 'Content-Type: text/calendar' --data-binary @$T/visit.ics
# $ curl -s "$CLOUD/v1/sites/$SITE/spaces/lobby/plan" -H "$A" | head -c 400
# > "verdict"
. "$(dirname "$0")/lib.sh"
proven ./cloud/analytics TestPlannedNextToMeasured
proven ./cloud/ical TestRepeatingEventsKeepTheirClockTime
