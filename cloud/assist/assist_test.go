package assist

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// answers is an API that answers each path with a body, and everything else with 404.
type answers map[string]string

// Get is of API.
func (a answers) Get(_ context.Context, path string) (int, []byte, error) {
	path, _, _ = strings.Cut(path, "?")
	if body, ok := a[path]; ok {
		return http.StatusOK, []byte(body), nil
	}
	return http.StatusNotFound, []byte(`{"status":404,"detail":"there is nothing here that you may see"}`), nil
}

func tool(t *testing.T, name string) Tool {
	t.Helper()
	for _, tool := range Tools() {
		if tool.Name == name {
			return tool
		}
	}
	t.Fatalf("there is no tool %s", name)
	return Tool{}
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func run(t *testing.T, api API, name, args string) Answer {
	t.Helper()
	tool := tool(t, name)
	a, err := tool.Call(t.Context(), api, []byte(args), noon)
	if err != nil {
		t.Fatalf("%s %s: %v", name, args, err)
	}
	return a
}

func TestStaleNumbersAreNotKnown(t *testing.T) {
	const room = `{"id":"room","occupancy":{"space":"room","state":"occupied","count":7,"low":6,"high":8,"quality":"stale","as_of":"2026-03-02T08:00:00Z"}}`
	api := answers{
		"/v1/sites":           `{"sites":[{"id":"hq","org":"acme","stale":true,"people":7,"as_of":"2026-03-02T08:00:00Z"}]}`,
		"/v1/sites/hq/spaces": `{"stale":true,"as_of":"2026-03-02T08:00:00Z","spaces":[` + strings.Replace(room, `"stale"`, `"good"`, 1) + `]}`,
		"/v1/sites/b/spaces":  `{"stale":false,"spaces":[` + room + `]}`,
	}
	if row := run(t, api, "list_sites", "").Rows[0].(siteRow); row.Known || row.People != nil || row.Quality != "stale" {
		t.Errorf("site is %+v", row)
	}
	for _, site := range []string{"hq", "b"} {
		a := run(t, api, "occupancy_now", `{"site":"`+site+`"}`)
		if row := a.Rows[0].(occupancyRow); a.Known || row.Known || row.Count != nil || row.Low != nil || row.State != string(edge.Unknown) || !strings.HasPrefix(row.Note, notKnown) {
			t.Errorf("%s: %+v", site, a)
		}
	}
}

func TestPagesOfRows(t *testing.T) {
	var sites []string
	for _, id := range strings.Split("a b c d e", " ") {
		sites = append(sites, `{"id":"`+id+`","org":"acme"}`)
	}
	api := answers{"/v1/sites": `{"sites":[` + strings.Join(sites, ",") + `]}`}
	got, cursor := "", ""
	for range 5 {
		a := run(t, api, "list_sites", `{"limit":2,"cursor":"`+cursor+`"}`)
		for _, r := range a.Rows {
			got += r.(siteRow).Site
		}
		if cursor = a.Next; cursor == "" {
			break
		}
	}
	if got != "abcde" {
		t.Errorf("pages have %q", got)
	}
}

// point is a sample of history.
func point(at time.Time, count string, quality string) string {
	return `{"space":"room","state":"occupied","count":` + count + `,"quality":"` + quality + `","as_of":"` + at.Format(time.RFC3339) + `"}`
}

func TestTrendIsOverWhatIsKnown(t *testing.T) {
	var points []string
	for i := range 48 { // four hours of five minutes: 2, 4, unknown, 10 people
		at := noon.Add(time.Duration(i-48) * 5 * time.Minute)
		points = append(points, point(at, []string{"2", "4", "null", "10"}[i/12], []string{"good", "good", "none", "good"}[i/12]))
	}
	api := answers{"/v1/sites/hq/spaces/room/history": `{"points":[` + strings.Join(points, ",") + `]}`}
	a := run(t, api, "trend", `{"site":"hq","space":"room","from":"2026-03-02T08:00:00Z"}`)
	if len(a.Rows) != 4 || !a.Known || !strings.Contains(a.Note, "rises: 3.0 people on average in the first half of the time, 10.0") {
		t.Fatalf("%+v", a)
	}
	third := a.Rows[2].(trendRow)
	if third.Known || third.Average != nil || third.Least != nil || third.KnownShare != 0 {
		t.Errorf("the unknown hour is %+v", third)
	}
	if last := a.Rows[3].(trendRow); *last.Average != 10 || *last.Most != 10 || last.KnownShare != 1 {
		t.Errorf("the last hour is %+v", last)
	}
	unknown := answers{"/v1/sites/hq/spaces/room/history": `{"points":[]}`}
	if a := run(t, unknown, "trend", `{"site":"hq","space":"room"}`); a.Known || !strings.Contains(a.Note, notKnown) {
		t.Errorf("without points: %+v", a)
	}
}

func TestRemoteRefuses(t *testing.T) {
	for _, url := range []string{"", "ftp://x", "x", "https://u:p@x"} {
		if _, err := NewRemote(url, ""); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	api, err := NewRemote("http://127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := api.Get(t.Context(), "/v1/sites"); err == nil || !strings.Contains(forCaller(err), "cloud") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte(`{"choices":[{"message":{"content":"x","tool_calls":[{"id":"1","function":{"name":"alerts","arguments":"{}"}}]}}],"usage":{"total_tokens":5}}`))
	f.Add([]byte(`{"choices":[]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err == nil && (len(r.Choices) == 0 || r.Usage.Total < 0) {
			t.Errorf("%q gives %+v", b, r)
		}
		if err != nil && !errors.Is(err, errModel) {
			t.Errorf("%q: %v is not of the endpoint", b, err)
		}
	})
}

func FuzzArguments(f *testing.F) {
	f.Add(`{"site":"hq","space":"room","limit":3}`)
	f.Add(`{"site":"../..","org":"a?b#c"}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, args string) {
		for _, tool := range Tools() {
			a, err := tool.Call(t.Context(), answers{}, []byte(args), noon)
			if err == nil && a.Rows == nil {
				t.Errorf("%s %q: no rows and no error", tool.Name, args)
			}
		}
	})
}
