# S0.sockets  Socket.IO with rooms, authorised by building, resumed after a kill
# doc: sockets.md#a-wallboard
. "$(dirname "$0")/lib.sh"
node "$SYSTEMS/inbox.mjs" "$CLOUD" "$TOKEN"
TAGS=integration proven ./edge/live/socketiotest TestIntegrationStockClient TestIntegrationResumeOverKilledCloud
proven ./edge/live/feed TestNobodySeesOthersBuildings TestWallboardFollowsItsBuilding
