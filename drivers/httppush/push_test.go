package httppush

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newDriver(t testing.TB, options string, sensors ...edge.Sensor) *Driver {
	t.Helper()
	d, err := New(drivers.Config{ID: "push", Options: json.RawMessage(options), Sensors: sensors}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Driver)
}

func mux(d drivers.Driver) *http.ServeMux {
	m := http.NewServeMux()
	for pattern, h := range d.(drivers.Mounter).Routes() {
		m.Handle(pattern, h)
	}
	return m
}

// peer is a system that POSTs readings and sends again what was not taken.
type peer struct {
	server *httptest.Server
	client *http.Client
}

func (p *peer) Send(ctx context.Context, device string, n int) error {
	body := fmt.Sprintf(`{"device":%q,"seq":%d,"count_in":%d,"count_out":0}`, device, n, n)
	return p.post(ctx, "/v1/readings", body, `"rejected":[]`)
}

func (p *peer) SendBad(ctx context.Context) error {
	return p.post(ctx, "/v1/readings", `[{"device":"x","count_in":-1}]`, `"rejected":[{"index":0`)
}

func (p *peer) post(ctx context.Context, path, body, want string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server.URL+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := p.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil:
			return err
		case resp.StatusCode == 200 && strings.Contains(string(answer), want):
			return nil
		case resp.StatusCode != 503 && resp.StatusCode != 429:
			return fmt.Errorf("%s: %s", resp.Status, answer)
		case resp.Header.Get("Retry-After") == "":
			return fmt.Errorf("%s without Retry-After", resp.Status)
		}
		select { // a device would wait what Retry-After says
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *peer) Close() error {
	p.client.CloseIdleConnections()
	p.server.Close()
	return nil
}

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(t *testing.T) drivers.Driver { return newDriver(t, `{}`) },
		Dial: func(t *testing.T, d drivers.Driver) drivertest.Peer {
			return &peer{httptest.NewServer(mux(d)), &http.Client{Transport: &http.Transport{}}}
		},
	})
}

// running is a driver that runs, with its sink, for requests without a network between.
func running(t testing.TB, options string, sensors ...edge.Sensor) (*http.ServeMux, *drivertest.Sink) {
	t.Helper()
	d, sink := newDriver(t, options, sensors...), drivertest.NewSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	sink.WaitUp(t)
	return mux(d), sink
}

type answer struct {
	Accepted, Duplicate, Pending int
	Rejected                     []refusal

	Title, Detail string
	Status, Line  int
	Offset        *int64
}

func post(t testing.TB, m http.Handler, path, contentType string, body string, header ...string) (*httptest.ResponseRecorder, answer) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	if w.Code != 200 && w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d has content type %q, want problem+json", w.Code, w.Header().Get("Content-Type"))
	}
	return w, a
}

const (
	good  = `{"device":"a","t":"2026-01-31T12:00:00Z","seq":1,"count_in":12,"count_out":9}`
	good2 = `{"sensor":"b","motion":true}`
)

func TestEveryShapeOfBody(t *testing.T) {
	for name, c := range map[string]struct{ contentType, body string }{
		"object":                {"application/json", good},
		"object, no type":       {"", good},
		"object on lines":       {"application/json; charset=utf-8", "{\n  \"device\": \"a\",\n  \"count_in\": 1\n}\n"},
		"array":                 {"application/json", "[" + good + ",\n" + good2 + "]"},
		"lines":                 {"application/x-ndjson", good + "\n" + good2 + "\n"},
		"lines by content":      {"application/json", good + "\r\n\r\n" + good2},
		"byte order mark":       {"application/json", "\xef\xbb\xbf" + good},
		"empty array":           {"application/json", " [ ] "},
		"one line, last has no": {"application/jsonl", good},
	} {
		m, sink := running(t, ``)
		w, a := post(t, m, "/v1/readings", c.contentType, c.body)
		want := strings.Count(c.body, `"device"`) + strings.Count(c.body, `"sensor"`)
		if w.Code != 200 || a.Accepted != want || len(a.Rejected) != 0 || len(sink.Readings()) != want {
			t.Errorf("%s: %d %s, %d stored; want %d accepted", name, w.Code, w.Body, len(sink.Readings()), want)
		}
	}
}

func TestReadingMeansWhatItSays(t *testing.T) {
	m, sink := running(t, ``, edge.Sensor{ID: "entrance", Device: "xovis:1"})
	body := `[
	 {"device":"a","t":"2026-01-31T12:00:00.5+01:00","from":"2026-01-31T11:59:00+01:00","seq":7,"backfill":true,"count_in":12,"count_out":9.0},
	 {"sensor":"entrance","ts":1769860800,"seq":"x\u00e9\ud83d\ude00","motion":false,"co2_ppm":612.5,"contact":"open"},
	 {"sensor":"unknown","at":1769860800123,"presence":1,"temperature_c":null},
	 {"device":"c","values":[["count_in","delta",3],["count_out","delta",0]],"rx":"whenever"}]`
	w, a := post(t, m, "/v1/readings", "", body)
	if w.Code != 200 || a.Accepted != 4 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var got []string
	for _, r := range sink.Readings() {
		r.Fix()
		r.Received = time.UnixMilli(0)
		got = append(got, string(r.AppendJSON(nil)))
	}
	want := []string{
		`{"device":"a","rx":0,"at":1769857200500,"from":1769857140000,"seq":"7","backfill":true,"values":[["count_in","cumulative",12],["count_out","cumulative",9]]}`,
		`{"device":"xovis:1","rx":0,"at":1769860800000,"seq":"xé😀","values":[["presence","motion-state",false],["co2_ppm","absolute",612.5],["contact","state","open"]]}`,
		`{"device":"unknown","rx":0,"at":1769860800123,"values":[["presence","state",true]]}`,
		`{"device":"c","rx":0,"values":[["count_in","delta",3],["count_out","delta",0]]}`,
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("reading %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestBadItemsAreNamed(t *testing.T) {
	long := strings.Repeat("x", 300)
	for item, says := range map[string]string{
		`{"count_in":1}`:                                        "say whose reading",
		`{"device":"a"}`:                                        "no value",
		`{"device":"a","count_in":null}`:                        "no value",
		`{"device":"","count_in":1}`:                            "1 to 200 bytes",
		`{"device":"` + long + `","count_in":1}`:                "1 to 200 bytes",
		`{"device":"a\u0000","count_in":1}`:                     "control character",
		`{"device":7,"count_in":1}`:                             "is a text",
		`{"device":"a","sensor":"b","count_in":1}`:              "both",
		`{"device":"a","count_in":1,"count_in":2}`:              "stands twice",
		`{"device":"a","t":1769860800,"time":1,"presence":1}`:   "stands twice",
		`{"device":"a","count_in":-1}`:                          "whole number",
		`{"device":"a","count_in":1.5}`:                         "whole number",
		`{"device":"a","count_in":true}`:                        "whole number",
		`{"device":"a","count_in":1e17}`:                        "whole number",
		`{"device":"a","presence":2}`:                           "true or false",
		`{"device":"a","presence":"yes"}`:                       "true or false",
		`{"device":"a","motion":{"deep":[1,{"x":2}]}}`:          "want a number",
		`{"device":"a","co2_ppm":"many"}`:                       "want a number",
		`{"device":"a","contact":"` + long + `"}`:               "text of 300 bytes",
		`{"device":"a","cuont_in":1}`:                           `unknown field "cuont_in"`,
		`{"device":"a","COUNT_IN":1}`:                           `unknown field`,
		`{"device":"a","t":"yesterday","count_in":1}`:           "RFC 3339",
		`{"device":"a","t":"2026-01-31T12:00:00","count_in":1}`: "with zone",
		`{"device":"a","t":[1],"count_in":1}`:                   "a time is",
		`{"device":"a","seq":{},"count_in":1}`:                  "seq is",
		`{"device":"a","seq":"` + long + `","count_in":1}`:      "seq has",
		`{"device":"a","backfill":1,"count_in":1}`:              "backfill is",
		`{"device":"a","values":[["count_in","delta"]]}`:        "2 elements",
		`{"device":"a","values":[["motion","state",1]]}`:        "unknown kind",
		`{"device":"a","values":[["count_in","rising",1]]}`:     "unknown semantics",
		`{"device":"a","values":{"count_in":1}}`:                "want [[",
		`7`:                                                     "JSON object",
		`[{"device":"a","count_in":1}]`:                         "JSON object",
	} {
		m, sink := running(t, ``)
		w, a := post(t, m, "/v1/readings", "", "["+good+","+item+","+good2+"]")
		if w.Code != 200 || a.Accepted != 2 || len(a.Rejected) != 1 || a.Rejected[0].Index != 1 || !strings.Contains(a.Rejected[0].Reason, says) {
			t.Errorf("%s in an array: %d %s; want 2 accepted, item 1 rejected: %s", item, w.Code, w.Body, says)
		}
		if len(sink.Readings()) != 2 || sink.Rejected() != 1 {
			t.Errorf("%s: %d stored, %d counted; want 2 and 1", item, len(sink.Readings()), sink.Rejected())
		}
		w, a = post(t, m, "/v1/readings", "application/x-ndjson", good+"\n"+item+"\n"+good2+"\n")
		if w.Code != 200 || len(a.Rejected) != 1 || a.Rejected[0].Index != 1 || !strings.Contains(a.Rejected[0].Reason, says) {
			t.Errorf("%s on a line: %d %s; want item 1 rejected: %s", item, w.Code, w.Body, says)
		}
	}
}

func TestMalformedLinesStandForThemselves(t *testing.T) {
	m, sink := running(t, ``)
	body := good + "\n{\"device\":\"a\",\n" + good2 + " x\n\xff\xfe\n{\"device\":\"c\",\"seq\":2,\"presence\":true}"
	w, a := post(t, m, "/v1/readings", "application/x-ndjson", body)
	if w.Code != 200 || a.Accepted != 2 || len(a.Rejected) != 3 {
		t.Fatalf("%d %s; want 2 accepted, 3 rejected", w.Code, w.Body)
	}
	for i, want := range []int{1, 2, 3} {
		if a.Rejected[i].Index != want || !strings.Contains(a.Rejected[i].Reason, "malformed") {
			t.Errorf("rejected %d: %+v, want index %d as malformed", i, a.Rejected[i], want)
		}
	}
	if rs := sink.Readings(); len(rs) != 2 || rs[0].Device != "a" || rs[1].Device != "c" {
		t.Errorf("stored %v, want those of a and c", rs)
	}
	if sink.Rejected() != 3 {
		t.Errorf("%d counted, want 3", sink.Rejected())
	}
}

func TestMalformedBodyNamesThePlace(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for name, c := range map[string]struct {
		body         string
		offset, line int
	}{
		"empty":          {"", -1, 0},
		"white space":    {" \n ", -1, 0},
		"not JSON":       {"temperature is 7", 0, 1},
		"cut":            {`{"device":"a","count_in":1`, 26, 1},
		"in line 3":      {"[\n" + good + ",\n{\"device\" \"a\"}\n]", len(good) + 14, 3},
		"comma at end":   {`[` + good + `,]`, len(good) + 2, 1},
		"two objects":    {good + good, len(good), 1},
		"rest":           {`[` + good + `] x`, len(good) + 3, 1},
		"leading zero":   {`{"device":"a","count_in":012}`, 26, 1},
		"NaN":            {`{"device":"a","co2_ppm":NaN}`, 24, 1},
		"huge number":    {`{"device":"a","co2_ppm":1e999}`, 24, 1},
		"single quotes":  {`{'device':'a'}`, 1, 1},
		"not UTF-8":      {"{\"device\":\"\xff\",\"count_in\":1}", 11, 1},
		"half surrogate": {`{"device":"\ud800","count_in":1}`, 17, 1},
		"control":        {"{\"device\":\"a\x01\",\"count_in\":1}", 12, 1},
		"deep":           {deep, 18, 1},
		"deep in a key":  {`{"device":"a","foo":` + deep, 36, 1},
		"number ends":    {`{"device":"a","co2_ppm":1.`, 26, 1},
		"minus alone":    {`{"device":"a","co2_ppm":-}`, 25, 1},
	} {
		m, sink := running(t, ``)
		w, a := post(t, m, "/v1/readings", "application/json", c.body)
		if w.Code != 400 || a.Status != 400 || a.Title == "" || a.Detail == "" {
			t.Errorf("%s: %d %s, want a 400", name, w.Code, w.Body)
			continue
		}
		if c.offset >= 0 && (a.Offset == nil || int(*a.Offset) != c.offset || a.Line != c.line) {
			t.Errorf("%s: %s; want offset %d, line %d", name, w.Body, c.offset, c.line)
		}
		if len(sink.Readings()) != 0 || sink.Rejected() != 1 {
			t.Errorf("%s: %d stored, %d counted; want 0 and 1", name, len(sink.Readings()), sink.Rejected())
			continue
		}
		if rj := sink.Rejections()[0]; rj.Device != "/v1/readings" || rj.Cause != "malformed" || len(rj.Hash) != 16 {
			t.Errorf("%s: counted as %+v, want path, cause and hash", name, rj)
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	m, sink := running(t, ``)
	big := "[" + strings.Repeat(good+",", maxBody/len(good)+1) + good + "]"
	if w, _ := post(t, m, "/v1/readings", "", big); w.Code != 413 {
		t.Errorf("1 MiB with length: %d %s, want 413", w.Code, w.Body)
	}
	req := httptest.NewRequest(http.MethodPost, "/v1/readings", io.MultiReader(strings.NewReader(big))) // no length
	w := httptest.NewRecorder()
	if m.ServeHTTP(w, req); w.Code != 413 {
		t.Errorf("1 MiB without length: %d %s, want 413", w.Code, w.Body)
	}
	if w, _ := post(t, m, "/v1/readings", "", zipped(t, strings.Repeat(" ", 50<<20)), "Content-Encoding", "gzip"); w.Code != 413 {
		t.Errorf("gzip bomb: %d %s, want 413", w.Code, w.Body)
	}
	if w, _ := post(t, m, "/v1/readings", "", "["+strings.Repeat("7,", maxItems)+"7]"); w.Code != 413 {
		t.Errorf("%d items: %d %s, want 413", maxItems+1, w.Code, w.Body)
	}
	long := `{"device":"a","count_in":1,"values":[` + strings.Repeat(" ", maxItem) + `]}`
	if w, a := post(t, m, "/v1/readings", "", "["+long+"]"); w.Code != 200 || len(a.Rejected) != 1 {
		t.Errorf("an item of 64 KiB: %d %s, want it rejected", w.Code, w.Body)
	}
	if len(sink.Readings()) != 0 || sink.Rejected() != 5 {
		t.Errorf("%d stored, %d counted; want 0 and 5", len(sink.Readings()), sink.Rejected())
	}
}

func zipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEncodings(t *testing.T) {
	m, _ := running(t, ``)
	if w, a := post(t, m, "/v1/readings", "application/json", zipped(t, good), "Content-Encoding", "gzip"); w.Code != 200 || a.Accepted != 1 {
		t.Errorf("gzip: %d %s", w.Code, w.Body)
	}
	whole := zipped(t, good)
	for name, c := range map[string]struct {
		body, contentType, encoding string
		code                        int
	}{
		"plain named gzip":  {good, "application/json", "gzip", 400},
		"gzip cut short":    {whole[:len(whole)-9], "application/json", "gzip", 400},
		"unknown encoding":  {good, "application/json", "br", 415},
		"multipart form":    {good, "multipart/form-data; boundary=x", "", 415},
		"malformed type":    {good, "application/", "", 415},
		"another character": {good, "application/json; charset=utf-16", "", 415},
	} {
		if w, _ := post(t, m, "/v1/readings", c.contentType, c.body, "Content-Encoding", c.encoding); w.Code != c.code {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.code)
		}
	}
}

func TestOutcomesAreCountedPerItem(t *testing.T) {
	m, sink := running(t, ``)
	sink.Answer(func(r edge.Reading) edge.Outcome {
		switch r.Device {
		case "p":
			return edge.Outcome{Status: edge.Pending, Reason: "no sensor names it"}
		case "r":
			return edge.Outcome{Status: edge.Rejected, Reason: "not that"}
		}
		return edge.Outcome{Status: edge.Accepted}
	})
	body := `[{"device":"a","count_in":1},{"bad":1},{"device":"a","count_in":1},{"device":"p","count_in":1},{"device":"r","count_in":1}]`
	w, a := post(t, m, "/sensors/data", "", body)
	if w.Code != 200 || a.Accepted != 1 || a.Duplicate != 1 || a.Pending != 1 || len(a.Rejected) != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if a.Rejected[0].Index != 1 || a.Rejected[1] != (refusal{4, "not that"}) {
		t.Errorf("rejected %+v, want items 1 and 4", a.Rejected)
	}
}

func TestImplausibleTimesAreLeftToTheHub(t *testing.T) {
	m, sink := running(t, ``)
	body := `[{"device":"a","t":"1970-01-01T00:00:07Z","count_in":1},{"device":"b","t":"2099-01-01T00:00:00Z","count_in":1},{"device":"c","t":1e300,"count_in":1},{"device":"d","t":-5,"count_in":1}]`
	if w, a := post(t, m, "/v1/readings", "", body); w.Code != 200 || a.Accepted != 4 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, r := range sink.Readings() {
		if r.Fix(); r.Timed || r.Quality != edge.BadClock || !r.At.Equal(r.Received) {
			t.Errorf("%s: at %v, quality %q; want the time of receipt and quality clock", r.Device, r.At, r.Quality)
		}
	}
}

func TestTooManyBytesInFlight(t *testing.T) {
	d, sink := newDriver(t, `{"max_in_flight":2097152}`), drivertest.NewSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, sink) }()
	sink.WaitUp(t)
	m := mux(d)
	d.inFlight.Add(2 << 20) // others are sending
	w, _ := post(t, m, "/v1/readings", "", good)
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s, want 429 with Retry-After", w.Code, w.Body)
	}
	d.inFlight.Add(-2 << 20)
	if w, _ := post(t, m, "/v1/readings", "", good); w.Code != 200 {
		t.Errorf("%d %s after the others ended, want 200", w.Code, w.Body)
	}
	if n := d.inFlight.Load(); n != 0 {
		t.Errorf("%d bytes counted as in flight when none are", n)
	}
	cancel()
	<-done
	if w, _ := post(t, m, "/v1/readings", "", good); w.Code != 503 {
		t.Errorf("%d %s when not running, want 503", w.Code, w.Body)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []string{`{"path":{}}`, `{"max_in_flight":5}`, `{"paths":{"old":"json"}}`, `{"paths":{"/":"json"}}`, `{"paths":{"/v1/x":"json"}}`, `{"paths":{"/a/{b}":"json"}}`, `{"paths":{"/old":"no-such-profile"}}`, `{"paths":{"/old":{"profile":"json","mapp":{}}}}`, `{"paths":{"/old":7}}`} {
		if _, err := New(drivers.Config{Options: json.RawMessage(o)}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("options %s pass", o)
		}
	}
}

func TestProfiles(t *testing.T) {
	m, sink := running(t, `{"paths":{"/old/url":"json","/shop":{"map":{"id":"gate","count_in":"visits.in"}}}}`, edge.Sensor{ID: "entrance", Device: "door-7"})
	for _, c := range []struct {
		path, body, want string
	}{
		{"/v1/push/json", `{"device":"door-7","in":103,"out":98,"ts":"2025-03-30T01:59:59+01:00"}`, `"door-7" 2025-03-30T00:59:59Z count_in=103 count_out=98`},
		{"/old/url", `{"id":"entrance","people":3}`, `"door-7" count_abs=3`},
		{"/shop", `{"gate":"g1","visits":{"in":7}}`, `"g1" count_in=7`},
	} {
		n := len(sink.Readings())
		w, a := post(t, m, c.path, "application/whatever", c.body)
		if w.Code != 200 || a.Accepted != 1 {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
			continue
		}
		r := sink.Readings()[n]
		got := strconv.Quote(r.Device)
		if !r.At.IsZero() {
			got += " " + r.At.Format(time.RFC3339)
		}
		for _, v := range r.Values {
			got += fmt.Sprintf(" %s=%v", v.Kind, v.Num)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.path, got, c.want)
		}
	}
}

func TestProfilesRefuse(t *testing.T) {
	m, sink := running(t, ``)
	for _, c := range []struct {
		path, body string
		code, said int // rejections counted
	}{
		{"/v1/push/nobody", good, 404, 0},
		{"/v1/push/json", `{"device":`, 400, 1},
		{"/v1/push/json", `{"device":"a","in":1,"in":2}`, 400, 1},
		{"/v1/push/json", `{"device":"a","in":-1}`, 400, 1},
		{"/v1/push/json", strings.Repeat("[", 1000), 413, 1},
		{"/v1/push/json", `[{"device":"a","in":1},{"device":"b","in":-1}]`, 200, 1},
	} {
		before := sink.Rejected()
		w, _ := post(t, m, c.path, "", c.body)
		if w.Code != c.code || sink.Rejected()-before != c.said {
			t.Errorf("%s %.40s: %d %s, %d counted; want %d and %d", c.path, c.body, w.Code, w.Body, sink.Rejected()-before, c.code, c.said)
		}
	}
	if rs := sink.Readings(); len(rs) != 1 || rs[0].Device != "a" {
		t.Errorf("stored %v, want the good one of the last body", rs)
	}
}

func FuzzReadings(f *testing.F) {
	f.Add([]byte(good), false)
	f.Add([]byte("["+good+","+good2+"]"), false)
	f.Add([]byte(good+"\n"+good2), true)
	f.Add([]byte("0\x00"), false)
	f.Add([]byte(`{"device":"\ud83d\ude00","values":[["count_in","delta",1e0]],"t":-1.5e3,"seq":-0}`), false)
	known := newNames(nil)
	received := time.UnixMilli(1769860800000).UTC()
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		kind := anyJSON
		if lines {
			kind = ndjson
		}
		items, p := parseBody(body, kind, known, received)
		if p != nil {
			return
		}
		if len(items.readings)+len(items.refused) != items.n {
			t.Fatalf("%d readings and %d refused of %d items", len(items.readings), len(items.refused), items.n)
		}
		if !lines && !manyLines(bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")) && !json.Valid(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))) {
			t.Fatalf("%q is taken, but is not JSON", body)
		}
		for _, r := range items.readings {
			r.Fix()
			var back edge.Reading
			if err := json.Unmarshal(r.AppendJSON(nil), &back); err != nil {
				t.Fatalf("%q becomes %s: %v", body, r.AppendJSON(nil), err)
			}
		}
	})
}

// discard is a hub that is infinitely fast.
type discard struct{ outcomes []edge.Outcome }

func (d *discard) Put(_ context.Context, rs ...edge.Reading) ([]edge.Outcome, error) {
	return d.outcomes[:len(rs)], nil
}
func (d *discard) Reject(context.Context, edge.Rejection) error { return nil }
func (d *discard) Status(drivers.Status)                        {}

// BenchmarkBatch500 is the whole handler without network and hub: 500 readings a body.
func BenchmarkBatch500(b *testing.B) {
	const n = 500
	var body strings.Builder
	sensors := make([]edge.Sensor, 20)
	for i := range sensors {
		sensors[i].ID = fmt.Sprintf("door-%d", i)
	}
	for i := range n {
		fmt.Fprintf(&body, `{"sensor":"door-%d","t":"2026-01-31T12:00:%02d.%03dZ","seq":%d,"count_in":%d,"count_out":%d}`+"\n", i%20, i%60, i, i, 1000+i, 900+i)
	}
	d := newDriver(b, ``, sensors...)
	d.out, d.ctx = &discard{make([]edge.Outcome, n)}, context.Background()
	for i := range d.out.(*discard).outcomes {
		d.out.(*discard).outcomes[i].Status = edge.Accepted
	}
	text := body.String()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/v1/readings", strings.NewReader(text))
		req.Header.Set("Content-Type", "application/x-ndjson")
		w := httptest.NewRecorder()
		d.serveReadings(w, req)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/reading")
}
