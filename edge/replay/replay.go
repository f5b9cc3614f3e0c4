package replay

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/occupancy"
)

// Options says what to replay.
type Options struct {
	Site    *edge.Site
	In      string        // readings, one JSON object a line; "-" is Stdin
	Every   time.Duration // step of the history, on the UTC grid; 0 = 5 min
	Truth   string        // CSV of true counts; empty = not judged
	Out     string        // file that the history is written to; empty = only its hash is made
	Shuffle *int64        // seed; nil = delivered as recorded
	Stdin   io.Reader     // read for In "-"
	Notes   io.Writer     // what was left out and why, for people; nil = not written
}

// DefaultEvery is the step of the history.
const DefaultEvery = 5 * time.Minute

// Result is the last line that Run prints.
type Result struct {
	*Figures
	StateHash string   `json:"state_hash"`
	Live      *Figures `json:"live,omitempty"` // what was known at the time
}

// Run replays and prints the result to stdout as one line of JSON: the figures when there is a
// truth, and state_hash, the SHA-256 of the history's lines.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Every < time.Second || o.Every%time.Second != 0 {
		return fmt.Errorf("replay: a step of %s is not possible; give whole seconds", o.Every)
	}
	rs, err := o.readings()
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	truths, err := o.truths()
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if o.Shuffle != nil {
		shuffle(rs, *o.Shuffle)
	}
	res, err := o.run(ctx, rs, truths)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	b, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s\n", b)
	return err
}

func (o *Options) run(ctx context.Context, rs []edge.Reading, truths []truth) (*Result, error) {
	w, err := o.create()
	if err != nil {
		return nil, err
	}
	defer w.close()
	final, err := o.revisedPass(ctx, rs, truths, w)
	if err != nil {
		return nil, err
	}
	if err := w.close(); err != nil {
		return nil, fmt.Errorf("write %s: %w", o.Out, err)
	}
	res := &Result{StateHash: w.sum()}
	if o.Truth == "" {
		return res, nil
	}
	atTheTime, err := o.livePass(ctx, rs, truths)
	if err != nil {
		return nil, err
	}
	if final.unknown+atTheTime.unknown > 0 {
		o.note("%s: for %d of %d counts the space was unknown (%d as known at the time); they are scored as nobody, with a probability of one half and the widest interval", o.Truth, final.unknown, final.n, atTheTime.unknown)
	}
	f, l := final.figures(), atTheTime.figures()
	res.Figures, res.Live = &f, &l
	return res, nil
}

// maxNotes bounds the notes about single lines.
const maxNotes = 20

// readings reads the input and leaves out what the site cannot use.
func (o *Options) readings() ([]edge.Reading, error) {
	in, name, err := o.open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sensors := map[string]string{}
	for _, s := range o.Site.Sensors {
		sensors[s.Address()] = s.ID
	}
	for _, s := range o.Site.Sensors {
		sensors[s.ID] = s.ID
	}
	var rs []edge.Reading
	bad := 0
	strangers := map[string]int{}
	err = readLines(in, func(l line) {
		id, ok := sensors[l.Sensor]
		if !ok {
			strangers[l.Sensor]++
			return
		}
		l.Reading.Sensor = id
		rs = append(rs, l.Reading)
	}, func(number int, err error) {
		if bad++; bad <= maxNotes {
			o.note("%s:%d: left out: %v", name, number, err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if bad > 0 {
		o.note("%s: %d lines left out", name, bad)
	}
	o.noteStrangers(name, strangers)
	if len(rs) == 0 {
		return nil, fmt.Errorf("%s has no readings of the site's sensors", name)
	}
	return rs, nil
}

func (o *Options) noteStrangers(name string, strangers map[string]int) {
	ids := make([]string, 0, len(strangers))
	for id := range strangers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids[:min(len(ids), maxNotes)] {
		o.note("%s: %d readings of sensor %q left out: the site does not have it", name, strangers[id], id)
	}
}

func (o *Options) open() (io.ReadCloser, string, error) {
	if o.In == "-" && o.Stdin != nil {
		return io.NopCloser(o.Stdin), "stdin", nil
	}
	f, err := os.Open(o.In)
	return f, o.In, err
}

func (o *Options) truths() ([]truth, error) {
	if o.Truth == "" {
		return nil, nil
	}
	f, err := os.Open(o.Truth)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ts, err := readTruth(bufio.NewReader(f), o.Site)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Truth, err)
	}
	if len(ts) == 0 {
		return nil, fmt.Errorf("%s has no counts", o.Truth)
	}
	return ts, nil
}

func (o *Options) note(format string, args ...any) {
	if o.Notes != nil {
		fmt.Fprintf(o.Notes, format+"\n", args...)
	}
}

// revisedPass runs the model over the set of readings by event time, writes the history from the
// first reading to the last and scores it, also beyond. The history does not depend on the truth.
func (o *Options) revisedPass(ctx context.Context, rs []edge.Reading, truths []truth, w *history) (*score, error) {
	order := revised(rs)
	first, last := order[0].At, order[len(order)-1].At
	m, err := occupancy.New(o.Site, first)
	if err != nil {
		return nil, err
	}
	var s score
	feed := func(to time.Time) {
		for len(order) > 0 && !order[0].At.After(to) {
			m.Advance(order[0].At)
			m.Observe(*order[0])
			order = order[1:]
		}
		m.Advance(to)
	}
	for step := ceil(first, o.Every); ; step = step.Add(o.Every) {
		for len(truths) > 0 && truths[0].at.Before(step) {
			feed(truths[0].at)
			truths = s.take(m.Occupancies(), truths)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		feed(step)
		now := m.Occupancies()
		if len(truths) > 0 && truths[0].at.Equal(step) {
			truths = s.take(now, truths)
		}
		if err := w.write(step, now); err != nil {
			return nil, fmt.Errorf("write %s: %w", o.Out, err)
		}
		if !step.Before(last) {
			break
		}
	}
	for len(truths) > 0 {
		feed(truths[0].at)
		truths = s.take(m.Occupancies(), truths)
	}
	return &s, nil
}

// take scores all truths of the first one's time and returns the others.
func (s *score) take(now []edge.Occupancy, truths []truth) []truth {
	at := truths[0].at
	for len(truths) > 0 && truths[0].at.Equal(at) {
		s.add(now[truths[0].space], truths[0].count)
		truths = truths[1:]
	}
	return truths
}

// history writes the lines of the finally revised history and hashes them.
type history struct {
	file *os.File
	out  *bufio.Writer
	hash hash.Hash
}

func (o *Options) create() (*history, error) {
	h := &history{hash: sha256.New()}
	if o.Out == "" {
		h.out = bufio.NewWriterSize(h.hash, 1<<16)
		return h, nil
	}
	f, err := os.Create(o.Out)
	if err != nil {
		return nil, err
	}
	h.file, h.out = f, bufio.NewWriterSize(io.MultiWriter(h.hash, f), 1<<16)
	return h, nil
}

// step is one line of the history.
type step struct {
	T         string                `json:"t"`
	Space     string                `json:"space"`
	State     edge.OccupancyState   `json:"state"`
	Count     *int                  `json:"count"`
	Mean      *float64              `json:"mean"`
	Low       *int                  `json:"low"`
	High      *int                  `json:"high"`
	POccupied *float64              `json:"p_occupied"`
	Quality   edge.OccupancyQuality `json:"quality"`
}

func (h *history) write(t time.Time, now []edge.Occupancy) error {
	at := t.UTC().Format("2006-01-02T15:04:05.000Z")
	for _, o := range now {
		b, err := json.Marshal(step{at, o.Space, o.State, o.Count, o.Mean, o.Low, o.High, o.POccupied, o.Quality})
		if err != nil {
			return err
		}
		if _, err := h.out.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// close ends the file; it may be called again.
func (h *history) close() error {
	err := h.out.Flush()
	if h.file == nil {
		return err
	}
	if cerr := h.file.Close(); err == nil {
		err = cerr
	}
	h.file = nil
	return err
}

func (h *history) sum() string { return hex.EncodeToString(h.hash.Sum(nil)) }

// ceil is the first point of the UTC grid at or after t.
func ceil(t time.Time, every time.Duration) time.Time {
	f := t.UTC().Truncate(every)
	if f.Before(t) {
		f = f.Add(every)
	}
	return f
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
