package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Problem is an error that the caller is told about (RFC 9457).
type Problem struct {
	Status  int            `json:"status"`
	Title   string         `json:"title"`
	Detail  string         `json:"detail,omitempty"`
	Errors  []FieldProblem `json:"errors,omitempty"`     // what is wrong with single fields of the request
	Request string         `json:"request_id,omitempty"` // correlation id; set by WriteProblem
	Header  http.Header    `json:"-"`                    // further headers of the answer, such as Retry-After
}

// FieldProblem is what is wrong with one field.
type FieldProblem struct {
	Location string `json:"location"` // such as body.email
	Message  string `json:"message"`
}

// Error is the detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// NewProblem makes a problem with a status and a detail that says what to do.
func NewProblem(status int, format string, args ...any) *Problem {
	return &Problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

// WriteProblem answers a request with a problem.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	for k, v := range p.Header {
		w.Header()[k] = v
	}
	out := *p // problems may be shared
	out.Request = w.Header().Get("X-Request-Id")
	WriteJSON(w, "application/problem+json", p.Status, &out)
}

// WriteJSON answers a request. A failing write is left alone: the client is gone.
func WriteJSON(w http.ResponseWriter, contentType string, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, contentType = http.StatusInternalServerError, "application/problem+json"
		b = []byte(`{"status":500,"title":"Internal Server Error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// maxDepth bounds the nesting of JSON bodies.
const maxDepth = 16

// DecodeStrict reads one JSON value into v: no unknown keys, no key twice (encoding/json would
// take the last), no case folding of keys, no deep nesting, nothing behind it.
func DecodeStrict(data []byte, v any) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// CheckJSON refuses what is not exactly one JSON value without duplicate keys (case-folded
// ones included) and without deep nesting.
func CheckJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return fmt.Errorf("not JSON: %w", err)
			}
			name, _ := key.(string)
			folded := fold(name)
			if seen[folded] {
				return fmt.Errorf("key %q stands twice in one object", name)
			}
			seen[folded] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// fold is how encoding/json compares keys: without case.
func fold(s string) string { return string(bytes.ToLower(bytes.ToUpper([]byte(s)))) }
