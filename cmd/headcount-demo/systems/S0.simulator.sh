# S0.simulator  a building of one's own towards any hub, with known truth
# doc: drivers.md
# $ headcount simulate --help | head -n 12
# > simulate
. "$(dirname "$0")/lib.sh"
proven ./cmd/headcount TestSimulatedCountsMatch TestSimulationIsRecordedAndReplayed TestControlAPIRefuses
