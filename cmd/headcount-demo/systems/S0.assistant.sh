# S0.assistant  read-only tools by MCP, questions to a model of one's own, signed events
# doc: cloud.md
. "$(dirname "$0")/lib.sh"
ask() { curl -s "$LAB/v1/agent/ask" -H "$1" -d "$(jq -n --arg q "$2" '{question: $q}')"; }
crowd 3
OUT=$(ask "$L" 'use list_spaces {"site":"hq"}')
has '"citations":\[.*lobby'
has '"known":true'
OUT=$(ask "$(as eve)" 'use list_spaces {"site":"hq"}') # of another organisation
has '"known":false'
grep -q lobby <<<"$OUT" && wrong "another organisation is told: $OUT"
proven ./cloud/tier TestToolsOverHTTPSeeWhatTheirCallerSees TestQuestionIsAnsweredFromRows TestWithoutRowsTheAnswerIsNotKnown TestModelNeverSeesAnotherTenant
proven ./cloud/forward TestEventsArriveSignedAndInOrder TestReplay
