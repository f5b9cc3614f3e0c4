package wire

import (
	"errors"
	"fmt"

	"github.com/headcount-hub/headcount/edge"
)

// What After refuses.
var (
	// ErrGap: records between the mark and the batch are missing and were not declared lost. The
	// batch is dropped and the mark pushed again; the hub then sends from the mark.
	ErrGap = errors.New("gap before batch")
	// ErrConflict: the batch does not continue the chain that was applied. The journal is another
	// one under the same epoch (a clone, a restored disk). Nothing of it may be applied.
	ErrConflict = errors.New("batch does not continue the applied chain")
)

// After tells what a cloud whose mark is m has yet to apply of b: the apply rules of FORMAT.md.
// m is the mark of b's own epoch and lane, Mark{Epoch: b.Epoch} when nothing of them was applied;
// b is what Decode returned.
//
// rest holds the records after m, with rest.Lost the number of records that are newly lost before
// them; it has no records when all of b was applied before. next is the mark to store in the same
// transaction as rest. The error is nil or wraps ErrGap or ErrConflict; then nothing is to be
// applied.
func (b *Batch) After(m Mark) (rest Batch, next Mark, err error) {
	if m.Epoch != b.Epoch {
		return Batch{}, m, fmt.Errorf("%w: epoch %s against mark of epoch %s", ErrConflict, b.Epoch, m.Epoch)
	}
	rest = Batch{Epoch: b.Epoch, Lane: b.Lane, First: b.First, CRC: b.CRC}
	before := b.First - 1
	switch {
	case m.Seq < before-b.Lost:
		return Batch{}, m, fmt.Errorf("%w: mark %d, batch begins at %d with %d lost", ErrGap, m.Seq, b.First, b.Lost)
	case m.Seq < before: // the gap is declared; its CRCs are not known, so the chain begins anew
		rest.Lost, rest.Records = before-m.Seq, b.Records
	case m.Seq > b.Last(): // sent before; which record the mark is cannot be compared
		return rest, m, nil
	default:
		known := int(m.Seq - before)
		for _, r := range b.Records[:known] {
			rest.CRC = edge.Chain(rest.CRC, r)
		}
		if rest.CRC != m.CRC {
			return Batch{}, m, fmt.Errorf("%w: CRC %08x at %d, batch has %08x", ErrConflict, m.CRC, m.Seq, rest.CRC)
		}
		rest.First, rest.Records = m.Seq+1, b.Records[known:]
	}
	next = Mark{Epoch: b.Epoch, Seq: m.Seq, CRC: rest.CRC}
	for i, r := range rest.Records {
		next.Seq, next.CRC = rest.First+uint64(i), edge.Chain(next.CRC, r)
	}
	return rest, next, nil
}
