package twin

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

func TestExportOfHistoryIsFlatAndWhole(t *testing.T) {
	r := newRig(t)
	r.beat("oslo")
	const n = maxPoints + 10 // more than a page
	r.occupancies("oslo", "room", n)
	path := "/v1/sites/oslo/history?space=room&from=" + start.Format(time.RFC3339) + "&to=" + start.Add(n*time.Second).Format(time.RFC3339)
	w := r.as(token.Viewer, "acme", http.MethodGet, path, "", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != http.StatusOK || len(lines) != n {
		t.Fatalf("%d, %d lines, want %d: %.300s", w.Code, len(lines), n, w.Body)
	}
	var first, last Row
	r.must(json.Unmarshal([]byte(lines[0]), &first))
	r.must(json.Unmarshal([]byte(lines[n-1]), &last))
	if first.Count != nil || first.State != edge.Unknown || first.At != start.Format(exportTime) || first.Org != "acme" {
		t.Errorf("the first row is %s, want unknown without a count", lines[0])
	}
	if last.Count == nil || *last.Count != n-1 || last.At != start.Add((n-1)*time.Second).Format(exportTime) {
		t.Errorf("the last row is %s", lines[n-1])
	}
	w = r.as(token.Viewer, "acme", http.MethodGet, path+"&format=csv", "", "")
	rows, err := csv.NewReader(w.Body).ReadAll()
	r.must(err)
	if len(rows) != n+1 || rows[1][6] != "" || rows[2][6] != "1" {
		t.Errorf("csv: %d rows, %v %v", len(rows), rows[1], rows[2])
	}
	for path, want := range map[string]int{path + "&format=xls": 400, "/v1/sites/oslo/history?from=never": 400, "/v1/sites/rome/history": 404} {
		if w := r.as(token.Viewer, "acme", http.MethodGet, path, "", ""); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// occupancies stores n changes of a space, one a second: first unknown, then counts.
func (r *rig) occupancies(site, space string, n int) {
	r.Helper()
	r.update("acme", site, func(tx *store.Tx, s store.Site) error {
		epoch, _, err := tx.Epoch(s.ID, strings.Repeat("e", 32), start)
		if err != nil {
			return err
		}
		events := make([]store.Event, n)
		for i := range events {
			at := start.Add(time.Duration(i) * time.Second)
			o := edge.Occupancy{Space: space, State: edge.Unknown, Quality: edge.QualityNone, AsOf: at, Since: start}
			if i > 0 {
				o.State, o.Count = edge.Occupied, &i
			}
			data, err := json.Marshal(o)
			if err != nil {
				return err
			}
			seq := uint64(i + 1)
			rec := edge.Record{Epoch: strings.Repeat("e", 32), Lane: edge.Events, Seq: seq, Commit: seq, Source: site, Type: string(edge.OccupancyChanged), Subject: space, Time: at, Data: data}
			events[i] = store.Event{Site: s.ID, Position: store.Position{Epoch: epoch, Seq: seq}, Type: rec.Type, Subject: space, Time: at, At: at, Body: rec.AppendJSON(nil)}
		}
		return tx.AddEvents(events)
	})
}
