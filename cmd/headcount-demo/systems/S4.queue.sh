# S4.queue  a durable queue: pull, acknowledge, again after a wait
# doc: cloud.md
. "$(dirname "$0")/lib.sh"
proven ./cloud/publish TestAConsumerThatWasDownCatchesUp
grep -rqil 'sns' "$ROOT/docs" || missing "the AWS bridge (optional in the row) is not there; the durable queue itself works"
