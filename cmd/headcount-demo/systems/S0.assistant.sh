# S0.assistant  read-only tools by MCP, questions to a model of one's own, signed events
# doc: cloud.md
. "$(dirname "$0")/lib.sh"
[ "$(status "$LAB/v1/agent/ask" -H "$L" -d '{"question":"x"}')" != 404 ] || missing "POST /v1/agent/ask is not served yet"
missing "the MCP server and the questions have no check yet"
