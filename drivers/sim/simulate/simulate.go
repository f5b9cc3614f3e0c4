// Package simulate runs a simulated building towards a hub: sensors over the transports that have a
// target, the truth as a file, and a small control API.
//
// The truth is what the building knows, never what a hub says of it. The control API has no
// authentication, so it refuses addresses that other machines can reach.
package simulate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim"
)

// Options of a simulation.
type Options struct {
	Building   sim.Options // Start is set by Open
	Transports sim.Transports
	Listen     string        // of the control API; empty = none
	Truth      string        // file for the true counts: CSV, or JSON lines when it ends in .jsonl; empty = none
	Every      time.Duration // between two lines of truth, by the wall clock
	Log        *slog.Logger
}

// Simulation is a building that is ready to run.
type Simulation struct {
	o        Options
	building *sim.Building
	runner   *sim.Runner
	ln       net.Listener
	truth    *truth // nil = none
}

// Open makes the building, takes the port of the control API and makes the file of the truth. What it
// took ends with Run.
func Open(o Options) (*Simulation, error) {
	if o.Building.Start.IsZero() {
		o.Building.Start = time.Now()
	}
	b, err := sim.NewBuilding(o.Building)
	if err != nil {
		return nil, err
	}
	s := &Simulation{o: o, building: b, runner: sim.NewRunner(b, o.Transports)}
	if s.ln, err = listen(o.Listen); err != nil {
		return nil, err
	}
	if o.Truth != "" {
		if s.truth, err = newTruth(o.Truth, b); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen %s: the control API has no authentication: want a loopback address such as 127.0.0.1:0", addr)
	}
	return net.Listen("tcp", addr)
}

// Address is the URL of the control API; empty when there is none.
func (s *Simulation) Address() string {
	if s.ln == nil {
		return ""
	}
	return "http://" + s.ln.Addr().String()
}

// Building is what is simulated.
func (s *Simulation) Building() *sim.Building { return s.building }

// Run sends what sensors say until ctx ends or the truth cannot be written, and gives back what
// Open took.
func (s *Simulation) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	sent, served := make(chan error, 1), make(chan error, 1) // the end of each, once
	go func() { sent <- s.runner.Run(ctx) }()
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	if s.ln == nil {
		served <- http.ErrServerClosed
	} else {
		go func() { served <- srv.Serve(s.ln) }()
	}
	err = s.record(ctx)
	cancel()
	_ = srv.Close()
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return errors.Join(err, <-sent, s.close())
}

// record writes the truth until ctx ends.
func (s *Simulation) record(ctx context.Context) error {
	if s.truth == nil {
		<-ctx.Done()
		return nil
	}
	every := time.NewTicker(s.o.Every)
	defer every.Stop()
	for {
		if err := s.truth.write(time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (s *Simulation) close() (err error) {
	if s.ln != nil {
		err = s.ln.Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	if s.truth != nil {
		err = errors.Join(err, s.truth.file.Close())
	}
	return err
}

// truth writes how many people are in each space, in the form that `headcount replay --truth` reads.
type truth struct {
	file   *os.File
	b      *sim.Building
	spaces []string
	lines  bool // JSON lines, not CSV
}

func newTruth(path string, b *sim.Building) (*truth, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write truth: %w", err)
	}
	t := &truth{file: f, b: b, spaces: slices.Sorted(maps.Keys(b.Truth())), lines: strings.HasSuffix(path, ".jsonl")}
	if !t.lines {
		_, err = f.WriteString("time,space,count\n")
	}
	return t, err
}

func (t *truth) write(now time.Time) error {
	counts, stamp := t.b.Truth(), now.UTC().Format("2006-01-02T15:04:05.000Z")
	out := bufio.NewWriter(t.file)
	for _, space := range t.spaces {
		if t.lines {
			b, _ := json.Marshal(space) // a string cannot fail
			fmt.Fprintf(out, "{\"time\":%q,\"space\":%s,\"count\":%d}\n", stamp, b, counts[space])
		} else {
			fmt.Fprintf(out, "%s,%s,%s\n", stamp, space, strconv.Itoa(counts[space]))
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	return nil
}

// Record lets the building live for a time of the wall clock at once, without a hub: readings in the form that
// `headcount replay --in` reads go to out, the truth to the file that o names. The same options give
// the same bytes; o.Building.Start is required.
func Record(o Options, length time.Duration, out io.Writer) error {
	if o.Building.Start.IsZero() {
		return errors.New("record: a start is required")
	}
	b, err := sim.NewBuilding(o.Building)
	if err != nil {
		return err
	}
	var t *truth
	if o.Truth != "" {
		if t, err = newTruth(o.Truth, b); err != nil {
			return err
		}
		defer t.file.Close()
	}
	w := bufio.NewWriter(out)
	for at := time.Duration(0); at <= length; at += o.Every {
		now := o.Building.Start.Add(at)
		for _, e := range b.Step(now) {
			if !e.Garbled {
				w.Write(append(e.Reading(), '\n')) // Flush tells
			}
		}
		if t != nil {
			if err := t.write(now); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}
