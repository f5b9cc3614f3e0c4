// Package decode is what stands behind "headcount decode": it reads recorded sample messages
// with the very codecs of the drivers, prints what they make of them, and compares it with
// what the sample says is expected. It knows nothing of single samples.
package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// Options of a run.
type Options struct {
	Check        bool // compare with the sample's "expected"
	IgnoreSensor bool // but not the sensor's id
}

// sample is a file; other members are for people.
type sample struct {
	ID        string                     `json:"id"`
	Driver    string                     `json:"driver"`
	Transport string                     `json:"transport"`
	Input     input                      `json:"input"`
	Config    map[string]json.RawMessage `json:"config"`
	Expected  []map[string]any           `json:"expected"`
}

type input struct {
	message
	Text     *string                    `json:"text"`
	Map      json.RawMessage            `json:"map"`
	Config   map[string]json.RawMessage `json:"config"`
	Messages []message                  `json:"messages"`
}

// message is one message of a sample: MQTT has a topic and a payload, HTTP a path and a body.
type message struct {
	Topic   string          `json:"topic"`
	Path    string          `json:"path"`
	Payload json.RawMessage `json:"payload"`
	Body    json.RawMessage `json:"body"`
	Retain  bool            `json:"retain"`
}

// errNotBuilt: no profile reads the sample's driver.
var errNotBuilt = errors.New("is not built")

// Run decodes each file and prints one JSON line for it; with Check also a line per mismatch
// and, last, "exact N of M". exact is true when every file could be decoded and, with Check,
// all were exactly as expected. The error is one of writing, or of having no file at all.
func Run(files []string, o Options, stdout io.Writer) (exact bool, err error) {
	if len(files) == 0 {
		return false, errors.New("no file: name one or more samples")
	}
	good := 0
	for _, name := range files {
		ok, err := runFile(name, o, stdout)
		if err != nil {
			return false, err
		}
		if ok {
			good++
		}
	}
	if o.Check {
		if _, err := fmt.Fprintf(stdout, "exact %d of %d\n", good, len(files)); err != nil {
			return false, err
		}
	}
	return good == len(files), nil
}

// line is what is printed for a file.
type line struct {
	ID           string           `json:"id"`
	Observations []map[string]any `json:"observations"`
	Error        string           `json:"error,omitempty"`
}

func runFile(name string, o Options, stdout io.Writer) (ok bool, err error) {
	s, err := readSample(name)
	if err != nil {
		return false, printLine(stdout, line{ID: name, Observations: []map[string]any{}, Error: err.Error()})
	}
	obs, derr := s.decode()
	out := line{ID: s.ID, Observations: make([]map[string]any, 0, len(obs))}
	for _, ob := range obs {
		out.Observations = append(out.Observations, render(ob))
	}
	if derr != nil {
		out.Error = derr.Error()
	}
	if err := printLine(stdout, out); err != nil {
		return false, err
	}
	if errors.Is(derr, errNotBuilt) || !o.Check {
		return !errors.Is(derr, errNotBuilt), nil
	}
	mismatches := compare(out.Observations, s.Expected, s.stream(), o.IgnoreSensor)
	for _, m := range mismatches {
		if _, err := fmt.Fprintf(stdout, "%s: %s\n", s.ID, m); err != nil {
			return false, err
		}
	}
	return len(mismatches) == 0, nil
}

func printLine(w io.Writer, l line) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func readSample(name string) (*sample, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var s sample
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s is no sample: %w", name, err)
	}
	if s.ID == "" {
		s.ID = name
	}
	return &s, nil
}

// stream tells whether the order of observations matters.
func (s *sample) stream() bool { return s.Transport == "serial" || len(s.Input.Messages) > 0 }

// siteOptions are the options of a codec that a sample may bring: what a site would configure.
var siteOptions = []string{"map", "items", "timezone", "semantics", "format", "csv_columns", "delimiter", "base"}

// options gathers the site's configuration from the places where samples have it.
func (s *sample) options() json.RawMessage {
	all := map[string]json.RawMessage{}
	for _, from := range []map[string]json.RawMessage{s.Config, s.Input.Config} {
		for _, key := range siteOptions {
			if v, ok := from[key]; ok {
				all[key] = v
			}
		}
	}
	if len(s.Input.Map) > 0 {
		all["map"] = s.Input.Map
	}
	if len(all) == 0 {
		return nil
	}
	b, _ := json.Marshal(all) // RawMessages that were parsed already
	return b
}

// decode runs the codec of the sample's driver over its messages, in order.
func (s *sample) decode() ([]payload.Observation, error) {
	p, ok := profiles.Lookup(s.Driver)
	if !ok {
		return nil, fmt.Errorf("driver %s %w", s.Driver, errNotBuilt)
	}
	codec, err := p.Open(s.options())
	if err != nil {
		return nil, err
	}
	var all []payload.Observation
	var first error
	for _, in := range s.inputs() {
		obs, err := codec.Decode(in)
		if err != nil && first == nil {
			first = err
		}
		all = append(all, obs...)
	}
	return all, first
}

func (s *sample) inputs() []payload.Input {
	if s.Input.Text != nil {
		return []payload.Input{{Body: []byte(*s.Input.Text)}}
	}
	msgs := s.Input.Messages
	if len(msgs) == 0 {
		msgs = []message{s.Input.message}
	}
	ins := make([]payload.Input, 0, len(msgs))
	for _, m := range msgs {
		body := m.Payload
		if len(body) == 0 {
			body = m.Body
		}
		ins = append(ins, payload.Input{Topic: m.Topic, Path: m.Path, Body: plainText(body), Retained: m.Retain})
	}
	return ins
}

// plainText is the message's bytes: a JSON text in the sample stands for its content.
func plainText(raw json.RawMessage) []byte {
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return []byte(text)
	}
	return raw
}
