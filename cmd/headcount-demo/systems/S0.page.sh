# S0.page  the page of hub and cloud, also with the network cut
# doc: cloud.md
# $ curl -s $HUB/ | grep -o '<title>.*</title>'
# $ curl -s -X POST $HUB/demo/cut-link -d '{}' && curl -s $HUB/v1/spaces/lobby | jq -c '[.id, .occupancy.quality]' && curl -s -X POST $HUB/demo/restore-link -d '{}'
# > <title>
# > \["lobby",
. "$(dirname "$0")/lib.sh"
TAGS=browser proven ./cmd/headcount-demo TestBrowserDemo
