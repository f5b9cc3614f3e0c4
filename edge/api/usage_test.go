package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
)

func TestUsageOfTheDay(t *testing.T) {
	now := edge.Millis(time.Now())
	model := edge.Site{ID: "hq", Timezone: "Europe/Oslo", Spaces: []edge.Space{{ID: "room", Kind: edge.Room, Capacity: 4}, {ID: "lab", Kind: edge.Room}}}
	site := apitest.New(model, now.Add(-2*time.Hour))
	for i, count := range []int{2, 2, 0} { // from two hours ago: 20 min of 2 people, then nobody for as long as that is believed
		at := now.Add(-2*time.Hour + time.Duration(i)*10*time.Minute)
		o := apitest.Known(model.Spaces[0], count, count, count, edge.QualityGood, at)
		site.Past(o)
	}
	a, err := api.New(api.Options{Site: site, History: site, Status: site, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(a)
	defer srv.Close()
	ask := func(query string, status int) (out api.UsageSummary) {
		t.Helper()
		resp, err := http.Get(srv.URL + "/v1/analytics/summary" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != status {
			t.Fatalf("%s: %s, want %d", query, resp.Status, status)
		}
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil && status == http.StatusOK {
			t.Fatal(err)
		}
		return out
	}
	s := ask("?from=-2h", http.StatusOK)
	if len(s.Spaces) != 2 || s.Timezone != "Europe/Oslo" {
		t.Fatalf("got %+v", s)
	}
	room, lab := s.Spaces[0], s.Spaces[1]
	if room.KnownMinutes < 39.9 || room.KnownMinutes > 40 || room.Spells > 1 || *room.Max != 2 || *room.Average < .99 || *room.Average > 1.01 {
		t.Errorf("room: %+v, want 40 known minutes of one person on average", room.Figures)
	}
	if lab.Average != nil || lab.KnownMinutes != 0 || *lab.Coverage != 0 {
		t.Errorf("lab: %+v, want nothing known", lab.Figures)
	}
	ask("?from=-200h", http.StatusUnprocessableEntity)
	ask("?from=yesterday", http.StatusUnprocessableEntity)
	site.Fail(errors.New("disk gone"))
	ask("", http.StatusInternalServerError)
}
