package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
)

// Readings of the same time are never torn apart by a page, so that none comes twice.
func TestPagesOfReadingsRepeatNone(t *testing.T) {
	site := apitest.Office(noon)
	const all = 100
	for i := range all { // runs of 1, 2, 3, … readings at the same time
		at := noon
		for n, left := 1, i; left >= n; n++ {
			left -= n
			at = at.Add(time.Second)
		}
		site.AddReading(edge.Reading{Sensor: "co2-board", Device: "d", Received: noon, At: at, Seq: fmt.Sprint(i)})
	}
	a := newAPI(t, site, nil)
	for _, limit := range []int{1, 2, 5, 7, 100} {
		seen, from := map[string]bool{}, noon
		for {
			page := get[api.SensorReadings](t, a, fmt.Sprintf("/sensors/co2-board/data?from=%s&to=2026-11-20T13:00:00Z&limit=%d", from.Format(time.RFC3339), limit))
			for _, r := range page.Readings {
				if seen[r.Seq] {
					t.Fatalf("limit %d: reading %s comes twice", limit, r.Seq)
				}
				seen[r.Seq] = true
			}
			if page.Next == nil {
				break
			}
			from = *page.Next
		}
		if len(seen) != all {
			t.Errorf("limit %d: %d readings, want %d", limit, len(seen), all)
		}
	}
}
