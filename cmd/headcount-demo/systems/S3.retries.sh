# S3.retries  a poison message ends as a dead letter, the queue moves on
# doc: notifications.md#dead-letters
# $ curl -s $CLOUD/v1/bus/dead-letters -H "$A"
# > dead_letters|letters|items
. "$(dirname "$0")/lib.sh"
proven ./cloud/publish TestAPoisonMessageBecomesADeadLetterAndTheQueueMovesOn
