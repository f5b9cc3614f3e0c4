# S4.environments  embedded or outside: NATS server and database by configuration
# doc: database.md
. "$(dirname "$0")/lib.sh"
proven ./cloud/bus TestExternal
proven ./cloud/tier TestConfigIsStrict
