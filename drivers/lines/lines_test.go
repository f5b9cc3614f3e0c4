package lines

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a serial adapter that can be plugged and unplugged: a pty behind a link like those of
// /dev/serial/by-id. The device is its master.
type wire struct {
	link string

	mu     sync.Mutex
	device *os.File
}

func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{link: filepath.Join(t.TempDir(), "port")}
	w.plug(t)
	t.Cleanup(func() { w.get().Close() })
	return w
}

func (w *wire) plug(t testing.TB) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatalf("open pty: %v", err)
	}
	defer slave.Close()
	if err := os.Symlink(slave.Name(), w.link); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.device = master
}

func (w *wire) unplug(t testing.TB) {
	t.Helper()
	if err := errors.Join(os.Remove(w.link), w.get().Close()); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) get() *os.File {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.device
}

func (w *wire) write(t testing.TB, s string) {
	t.Helper()
	if _, err := w.get().WriteString(s); err != nil {
		t.Fatalf("write %.40q: %v", s, err)
	}
}

func newDriver(t testing.TB, w *wire, options string, sensors ...edge.Sensor) *Driver {
	t.Helper()
	o := fmt.Sprintf(`{"port":%q%s}`, w.link, options)
	d, err := New(drivers.Config{ID: "board", Options: json.RawMessage(o), Sensors: sensors}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d.(*Driver).keeper.Reopen = 5 * time.Millisecond
	return d.(*Driver)
}

// board is a device that waits for the answer to each line and sends it again without.
type board struct {
	w  *wire
	mu sync.Mutex // one line at a time, as on any wire
}

func (b *board) Send(ctx context.Context, device string, n int) error {
	return b.line(ctx, fmt.Sprintf(`{"id":%q,"seq":%d,"in":%d,"out":0}`, device, n, n), fmt.Sprint(n), "ok", "dup")
}

func (b *board) SendBad(ctx context.Context) error {
	return b.line(ctx, `{"id":"x","seq":99,"in":-1}`, "99", "err")
}

func (b *board) line(ctx context.Context, line, seq string, want ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		f := b.w.get()
		if _, err := f.WriteString(line + "\n"); err != nil {
			return err
		}
		answer, err := answerTo(ctx, f, seq)
		for _, w := range want {
			if err == nil && answer == w {
				return nil
			}
		}
		if err == nil && answer != "again" {
			return fmt.Errorf("line %s is answered %q, want %v", line, answer, want)
		}
	}
	return ctx.Err()
}

// answerTo waits half a second for the answer to seq; echoes and late answers are passed over.
func answerTo(ctx context.Context, f *os.File, seq string) (string, error) {
	if err := f.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r := bufio.NewReader(f)
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if words := strings.Fields(text); len(words) > 1 && words[1] == seq {
			return words[0], nil
		}
	}
}

func (b *board) Close() error { return nil }

func TestContract(t *testing.T) {
	wires := map[string]*wire{}
	of := func(t *testing.T) *wire { // the name of the part is the key: cleanups belong to it
		if wires[t.Name()] == nil {
			wires[t.Name()] = newWire(t)
		}
		return wires[t.Name()]
	}
	drivertest.Run(t, drivertest.Harness{
		New:     func(t *testing.T) drivers.Driver { return newDriver(t, of(t), `,"ack":true`) },
		Dial:    func(t *testing.T, _ drivers.Driver) drivertest.Peer { return &board{w: of(t)} },
		Cut:     func(t *testing.T) { of(t).unplug(t) },
		Restore: func(t *testing.T) { of(t).plug(t) },
	})
}

// printer is a device without answers.
type printer struct{ board }

func (p *printer) Send(_ context.Context, device string, n int) error {
	_, err := fmt.Fprintf(p.w.get(), "%s,%d,0\r\n", device, n)
	return err
}

func (p *printer) SendBad(context.Context) error {
	_, err := p.w.get().WriteString("dev-0,many,few\n")
	return err
}

func TestContractWithoutAnswers(t *testing.T) {
	wires := map[string]*wire{}
	of := func(t *testing.T) *wire {
		if wires[t.Name()] == nil {
			wires[t.Name()] = newWire(t)
		}
		return wires[t.Name()]
	}
	drivertest.Run(t, drivertest.Harness{
		New: func(t *testing.T) drivers.Driver {
			return newDriver(t, of(t), `,"csv_columns":["id","count_in","count_out"]`, edge.Sensor{ID: "dev-0"}, edge.Sensor{ID: "dev-1"}, edge.Sensor{ID: "dev-2"})
		},
		Dial:    func(t *testing.T, _ drivers.Driver) drivertest.Peer { return &printer{board{w: of(t)}} },
		NoAck:   true,
		Cut:     func(t *testing.T) { of(t).unplug(t) },
		Restore: func(t *testing.T) { of(t).plug(t) },
	})
}

// reading is a driver that runs on a wire, with its sink.
func reading(t testing.TB, options string, sensors ...edge.Sensor) (*wire, *drivertest.Sink) {
	t.Helper()
	w, sink := newWire(t), drivertest.NewSink()
	d := newDriver(t, w, options, sensors...)
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
	return w, sink
}

func summary(rs []edge.Reading) (out []string) {
	for _, r := range rs {
		s := r.Device
		if r.Seq != "" {
			s += " #" + r.Seq
		}
		if !r.At.IsZero() {
			s += " @" + r.At.UTC().Format(time.RFC3339)
		}
		for _, v := range r.Values {
			s += fmt.Sprintf(" %s/%s=%v%s", v.Kind, v.Semantics, v.Num, v.Text)
		}
		out = append(out, s)
	}
	return out
}

func TestSampleOfTheField(t *testing.T) {
	w, sink := reading(t, `,"format":"auto","csv_columns":["id","count_in","count_out"]`)
	w.write(t, "{\"id\":\"door1\",\"in\":12,\"out\":9}\r\ndoor1,13,9\n# comment\n{\"id\":\"door1\",\"in\":13,\"out\":10")
	sink.WaitReadings(t, 2)
	w.write(t, "}\n") // the last line was kept
	want := []string{
		"door1 count_in/cumulative=12 count_out/cumulative=9",
		"door1 count_in/cumulative=13 count_out/cumulative=9",
		"door1 count_in/cumulative=13 count_out/cumulative=10",
	}
	if got := summary(sink.WaitReadings(t, 3)); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if sink.Rejected() != 0 {
		t.Errorf("rejected %v", sink.Rejections())
	}
}

func TestFormats(t *testing.T) {
	for name, c := range map[string]struct {
		options, line, want string // want empty: refused
	}{
		"kinds by name":       {``, `{"device":"a","co2_ppm":612.5,"presence":1}`, "a co2_ppm/absolute=612.5 presence/state=1"},
		"motion":              {``, `{"sensor":"a","motion":false,"seq":"x-1"}`, "a #x-1 presence/motion-state=0"},
		"time with zone":      {``, `{"id":"a","ts":"2025-03-30T01:59:59+01:00","people":3}`, "a @2025-03-30T00:59:59Z count_abs/absolute=3"},
		"time in seconds":     {``, `{"id":"a","t":1769860800,"people":3}`, "a @2026-01-31T12:00:00Z count_abs/absolute=3"},
		"number as id":        {``, `{"id":7,"people":3}`, "7 count_abs/absolute=3"},
		"no id":               {``, `{"people":3}`, "board count_abs/absolute=3"},
		"prefix":              {`,"prefix":"bus1/"`, `{"id":"a","people":3}`, "bus1/a count_abs/absolute=3"},
		"other keys":          {``, `{"id":"a","people":3,"rssi":{"x":[1]},"people2":null,"count_in":null}`, "a count_abs/absolute=3"},
		"map":                 {`,"map":{"id":"dev","count_in":"E","count_out":"A"}`, `{"dev":"a","id":"b","E":1,"A":2,"in":9}`, "a count_in/cumulative=1 count_out/cumulative=2"},
		"csv with holes":      {`,"format":"csv","csv_columns":["id","","presence","temperature_c","seq"]`, `a, x , on , 21.5,7`, "a #7 presence/state=1 temperature_c/absolute=21.5"},
		"csv, empty cell":     {`,"format":"csv","csv_columns":["id","presence","temperature_c"]`, `a,,21.5`, "a temperature_c/absolute=21.5"},
		"csv without id":      {`,"csv_columns":["count_abs"]`, `5`, "board count_abs/absolute=5"},
		"not JSON":            {``, `people: 3`, ""},
		"cut":                 {``, `{"id":"a","people":3`, ""},
		"two on a line":       {``, `{"id":"a","people":3}{"id":"a","people":4}`, ""},
		"glued":               {``, `{"id":"a","peop{"id":"a","people":4}`, ""},
		"key twice":           {``, `{"id":"a","people":3,"people":4}`, ""},
		"nothing known":       {``, `{"id":"a","foo":3}`, ""},
		"not a count":         {``, `{"id":"a","people":-3}`, ""},
		"huge":                {``, `{"id":"a","co2_ppm":1e999}`, ""},
		"bad time":            {``, `{"id":"a","ts":"noon","people":3}`, ""},
		"deep":                {``, `{"id":"a","x":` + strings.Repeat("[", 3000), ""},
		"csv, column missing": {`,"csv_columns":["id","count_in"]`, `a`, ""},
		"csv, one too many":   {`,"csv_columns":["id","count_in"]`, `a,1,2`, ""},
		"csv, not a number":   {`,"csv_columns":["id","count_in"]`, `a,1x`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, sink := reading(t, c.options, edge.Sensor{ID: "a"}, edge.Sensor{ID: "board"})
			w.write(t, c.line+"\n")
			if c.want == "" {
				if sink.WaitRejected(t, 1); len(sink.Readings()) != 0 {
					t.Errorf("stored %v, rejected %v; want it refused", summary(sink.Readings()), sink.Rejections())
				}
				return
			}
			if got := summary(sink.WaitReadings(t, 1)); got[0] != c.want {
				t.Errorf("got %s, want %s", got[0], c.want)
			}
		})
	}
}

func TestNoiseCostsItselfOnly(t *testing.T) {
	w, sink := reading(t, `,"csv_columns":["id","count_in","count_out"]`, edge.Sensor{ID: "d"})
	w.write(t, "d,1,0\n")
	sink.WaitReadings(t, 1)
	w.write(t, "\x00\xff\xfe\x13\x07garbage\n")     // noise with an end of line
	w.write(t, "d,2,0\n")                           // the next frame is whole again
	w.write(t, strings.Repeat("x", 3*maxLine)+"\n") // wrong baud: no end of line for long
	w.write(t, "d,3,0\r\n\r\n")                     //
	w.write(t, "\xf0\x9f\n")                        // half a character
	w.write(t, "d,4")                               // half a line
	w.write(t, ",0\r")                              // and its other half
	w.write(t, "d,5d,5,0\n")                        // glued
	w.write(t, "d,6,0\n")                           //
	if got := summary(sink.WaitReadings(t, 5)); len(got) != 5 || got[4] != "d count_in/cumulative=6 count_out/cumulative=0" {
		t.Errorf("got %v, want counts 1, 2, 3, 4 and 6", got)
	}
	sink.WaitRejected(t, 4)
	causes := map[string]int{}
	for _, r := range sink.Rejections() {
		causes[r.Cause] += r.Count
	}
	if causes[causeNoise] != 2 || causes[causeTooLong] != 1 || causes["malformed"] != 1 {
		t.Errorf("causes %v, want 2 of noise, 1 too long, 1 malformed", causes)
	}
}

// TestJunkIsCountedInBatches: a screaming port does not make a commit a line.
func TestJunkIsCountedInBatches(t *testing.T) {
	w, sink := reading(t, ``)
	const n = 3000
	for range n {
		w.write(t, "\xff\n")
	}
	sink.WaitRejected(t, n)
	if calls := len(sink.Rejections()); calls > 30 {
		t.Errorf("%d calls of Reject for %d broken lines", calls, n)
	}
}

func TestFirstLineMayBeTheRestOfOne(t *testing.T) {
	w, sink := reading(t, `,"csv_columns":["id","count_in","count_out"]`, edge.Sensor{ID: "door1"})
	w.write(t, "oor1,13,9\ndoor1,14,9\n")
	if got := summary(sink.WaitReadings(t, 1)); got[0] != "door1 count_in/cumulative=14 count_out/cumulative=9" {
		t.Errorf("got %v", got)
	}
	if sink.WaitRejected(t, 1); sink.Rejections()[0].Cause != "partial" {
		t.Errorf("rejected %v, want the rest of a line", sink.Rejections())
	}
}

// TestNothingIsDroppedWithoutAnswers: what nobody sends again is stored when the hub can again.
func TestNothingIsDroppedWithoutAnswers(t *testing.T) {
	w, sink := reading(t, ``)
	sink.FailNext(1, nil)
	w.write(t, "{\"id\":\"a\",\"seq\":1,\"people\":1}\n{\"id\":\"a\",\"seq\":2,\"people\":2}\n")
	if got := summary(sink.WaitReadings(t, 2)); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestAnswers(t *testing.T) {
	w, sink := reading(t, `,"ack":true`)
	sink.Answer(func(r edge.Reading) edge.Outcome {
		if r.Device == "unwanted" {
			return edge.Outcome{Status: edge.Rejected}
		}
		return edge.Outcome{Status: edge.Accepted}
	})
	b := &board{w: w}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range []struct{ line, seq, want string }{
		{`{"id":"a","seq":1,"people":1}`, "1", "ok"},
		{`{"id":"a","seq":1,"people":1}`, "1", "dup"},
		{`{"id":"a","people":2}`, "-", "ok"},
		{`{"id":"unwanted","seq":5,"people":1}`, "5", "err"},
		{`{"id":"a","seq":6,"people":-1}`, "6", "err"},
		{`{"id":"a","seq":7,"peo`, "-", "err"},
		{`{"id":"a","seq":8,"people":null}`, "8", "ok"},
		{`nonsense`, "-", "err"},
	} {
		if err := b.line(ctx, c.line, c.seq, c.want); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
	}
}

// TestManyUnplugs leaves nothing behind.
func TestManyUnplugs(t *testing.T) {
	const cycles = 100
	w, sink := reading(t, ``)
	files, routines := 0, 0
	for i := range cycles {
		w.write(t, fmt.Sprintf("{\"id\":\"a\",\"seq\":%d,\"people\":1}\n", i))
		sink.WaitReadings(t, i+1)
		w.unplug(t)
		sink.WaitDown(t)
		if i == 10 {
			files, routines = descriptors(t), runtime.NumGoroutine()
		}
		if i == cycles-1 {
			break
		}
		w.plug(t)
		sink.WaitUp(t)
	}
	if n := descriptors(t); n > files {
		t.Errorf("%d descriptors after %d unplugs, %d after 10", n, cycles, files)
	}
	if n := runtime.NumGoroutine(); n > routines {
		t.Errorf("%d goroutines after %d unplugs, %d after 10", n, cycles, routines)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestOptions(t *testing.T) {
	for o, says := range map[string]string{
		`{}`:                                      "port is missing",
		`{"port":"/dev/x","bauds":9600}`:          `unknown option "bauds"`,
		`{"port":"/dev/x","baud":7}`:              "baud 7",
		`{"port":"/dev/x","format":"xml"}`:        `format "xml"`,
		`{"port":"/dev/x","format":"csv"}`:        "csv_columns",
		`{"port":"/dev/x","csv_columns":["ID"]}`:  "no column is a value",
		`{"port":"/dev/x","map":{"persona":"n"}}`: "not a field or kind",
		`{"port":{"vid":"0403","prod":"x"}}`:      "want a path or",
	} {
		if _, err := New(drivers.Config{ID: "x", Options: json.RawMessage(o)}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("options %s: %v, want %q", o, err, says)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"id\":\"a\",\"in\":1}\r\na,1,2\n# x\n\xff\n"), 3)
	f.Add([]byte(strings.Repeat("x", maxLine+1)+"\na,1,2\n"), 1000)
	f.Add([]byte("{\"id\":\"a\",\"ts\":1e300,\"people\":1}\n"), 1)
	codec, err := payload.NewLines(payload.LineOptions{CSVColumns: []string{"id", "count_in", "count_out"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		whole, parts := lines(stream, len(stream), codec), lines(stream, max(1, cut%64), codec)
		if strings.Join(whole, "\n") != strings.Join(parts, "\n") {
			t.Fatalf("%q read at once gives %q, in parts %q", stream, whole, parts)
		}
		again := lines(slices.Concat(stream, []byte("\r\n{\"id\":\"z\",\"in\":1}\n")), 64, codec)
		if n := len(again); n == 0 || again[n-1] != "z count_in/cumulative=1" {
			t.Fatalf("after %q a good line gives %q", stream, again)
		}
	})
}

// lines is what becomes of a stream that is read in parts of n bytes.
func lines(stream []byte, n int, codec *payload.Lines) (out []string) {
	var f framer
	for len(stream) > 0 {
		k := min(max(n, 1), len(stream))
		f.push(stream[:k], func(l line) {
			if l.cause != "" {
				out = append(out, l.cause)
				return
			}
			obs, err := codec.DecodeLine(payload.Input{Path: "in", Body: l.text})
			if err != nil {
				out = append(out, err.Error())
			}
			out = append(out, summary(payload.Group("", obs, time.Time{}))...)
		})
		stream = stream[k:]
	}
	return out
}
