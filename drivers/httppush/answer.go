package httppush

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/headcount-hub/headcount/edge"
)

// result is what became of a body's items.
type result struct {
	accepted, duplicate, pending int
	rejected                     []refusal
}

// refusal is one item that was not stored.
type refusal struct {
	Index  int    `json:"index"` // position in the body, from 0
	Reason string `json:"reason"`
}

// add counts the outcome of the item at index.
func (r *result) add(index int, o edge.Outcome) {
	switch o.Status {
	case edge.Accepted:
		r.accepted++
	case edge.Duplicate:
		r.duplicate++
	case edge.Pending:
		r.pending++
	default:
		r.rejected = append(r.rejected, refusal{index, o.Reason})
	}
}

// write answers 200 {"accepted":n,"duplicate":n,"pending":n,"rejected":[…]}.
func (r *result) write(w http.ResponseWriter) {
	b := make([]byte, 0, 96)
	b = strconv.AppendInt(append(b, `{"accepted":`...), int64(r.accepted), 10)
	b = strconv.AppendInt(append(b, `,"duplicate":`...), int64(r.duplicate), 10)
	b = strconv.AppendInt(append(b, `,"pending":`...), int64(r.pending), 10)
	b = append(b, `,"rejected":`...)
	if len(r.rejected) == 0 {
		b = append(b, `[]`...)
	} else {
		list, _ := json.Marshal(r.rejected) // strings and numbers cannot fail
		b = append(b, list...)
	}
	b = append(b, "}\n"...)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a client that is gone sends again; that is a duplicate then
}

// problem is an error answer of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Offset *int64 `json:"offset,omitempty"` // of the byte in the body that is wrong, from 0
	Line   int    `json:"line,omitempty"`   // of that byte, from 1

	cause string // for the loss ledger; empty = nothing arrived that has to be counted
	hash  string // of the body, for the ledger; empty when it was not read
	retry bool   // come again in a second
}

func (p *problem) Error() string { return p.Detail }

func problemf(status int, cause, format string, args ...any) *problem {
	return &problem{Status: status, cause: cause, Detail: fmt.Sprintf(format, args...)}
}

// again is a problem that goes away by itself.
func again(status int, detail string) *problem {
	return &problem{Status: status, Detail: detail, retry: true}
}

func (p *problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	b, _ := json.Marshal(p)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retry {
		h.Set("Retry-After", "1")
	}
	if p.Status == http.StatusUnsupportedMediaType {
		h.Set("Accept", "application/json, application/x-ndjson")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}
