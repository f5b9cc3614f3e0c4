# S4.once  at least once on the line, once in effect, whatever the order
# doc: cloud.md
# $ curl -s $HUB/v1/readings -d '{"sensor":"count-entrance","seq":900001,"count_in":3,"count_out":1}'; curl -s $HUB/v1/readings -d '{"sensor":"count-entrance","seq":900001,"count_in":3,"count_out":1}'
# > "duplicate":1
. "$(dirname "$0")/lib.sh"
proven ./cloud/ingest TestBatchesAreAppliedOnceWhateverIsRepeated TestGapIsRefusedAndFilledFromTheMark TestTwoIngestersOnOneDatabase
proven ./sync/uplink TestWhateverHappensOnTheLine
