package trace

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// HeaderRecords tells, in a batch of records, which of them were written in which trace:
// "FIRST-LAST TRACEPARENT", once per trace and at most MaxRecords times.
const HeaderRecords = "Headcount-Trace"

// MaxRecords bounds the traces of one batch.
const MaxRecords = 16

// Records is a run of records of one journal's lane that were written in a trace.
type Records struct {
	Of          string // the journal and lane, as the caller names them
	First, Last uint64
	Context     string // traceparent
}

// String is the form of HeaderRecords.
func (r Records) String() string {
	return strconv.FormatUint(r.First, 10) + "-" + strconv.FormatUint(r.Last, 10) + " " + r.Context
}

// ParseRecords reads values of HeaderRecords that overlap first to last. What is not valid is left
// out: a trace is not worth a refusal.
func ParseRecords(of string, values []string, first, last uint64) (out []Records) {
	for _, v := range values[:min(len(values), MaxRecords)] {
		run, context, _ := strings.Cut(v, " ")
		from, to, _ := strings.Cut(run, "-")
		a, errA := strconv.ParseUint(from, 10, 64)
		b, errB := strconv.ParseUint(to, 10, 64)
		trace, _, sampled := Parse(context)
		if errA != nil || errB != nil || !sampled || trace == "" || a > b || a > last || b < first {
			continue
		}
		out = append(out, Records{Of: of, First: max(a, first), Last: min(b, last), Context: context})
	}
	return out
}

// memory is how many runs a Memory keeps.
const memory = 1024

// Memory remembers the newest runs of records and their traces. The zero value is ready; its
// methods may be called from many goroutines.
type Memory struct {
	mu   sync.Mutex
	runs []Records
	next int
}

// Add remembers a run, instead of the oldest when there are many.
func (m *Memory) Add(r Records) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.runs) < memory {
		m.runs = append(m.runs, r)
		return
	}
	m.runs[m.next] = r
	m.next = (m.next + 1) % memory
}

// Find lists the runs that overlap first to last, at most MaxRecords.
func (m *Memory) Find(of string, first, last uint64) (out []Records) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runs {
		if r.Of == of && r.First <= last && r.Last >= first && len(out) < MaxRecords {
			out = append(out, r)
		}
	}
	return out
}

// Of names a journal's lane at a site.
func Of(org, site, epoch, lane string) string {
	return fmt.Sprintf("%s/%s/%s/%s", org, site, epoch, lane)
}
