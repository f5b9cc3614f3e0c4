# S1.operations  packages, JSON logs, metrics, a dashboard, traces
# doc: operations.md
# $ curl -s $HUB/metrics | promtool check metrics 2>&1 | tail -n 3; curl -s $HUB/metrics | grep -c '^headcount_'
# > ^[1-9][0-9]
. "$(dirname "$0")/lib.sh"
curl -s "$HUB/metrics" | promtool check metrics >"$T/prom" 2>&1 || [ $? = 3 ] || wrong "promtool: $(cat "$T/prom")" # 3: matters of taste
cd "$ROOT"
ls packaging/nfpm.yaml packaging/Caddyfile >/dev/null
find . -name '*.json' -path '*grafana*' | grep -q . || missing "no Grafana dashboard is shipped"
find . -name "*compose*" | grep -q . || missing "no compose file is shipped; packages, logs, metrics, dashboard and traces are"
