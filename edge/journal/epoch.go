package journal

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"
)

func newEpochID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// NewEpoch begins a new epoch at sequence 1, because the cloud refuses the present one's chain:
// it holds other records under the same ids. So nothing that is not confirmed can be sent; it is
// returned, and the caller stores it with the next commit, which also carries a checkpoint.
// (Records cannot go up again under new ids: which of them the cloud already has under the old
// ones is just what is not known.)
//
// An error wraps ErrFatal.
func (j *Journal) NewEpoch(reason string) ([]Lost, error) {
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.writableErr(); err != nil {
		return nil, err
	}
	old := j.active()
	h := header{Format: format, Number: old.Number + 1, Source: j.opts.Source, Epoch: newEpochID(),
		Start: extent{LastAt: j.end.LastAt}, Ends: slices.Clone(old.Ends), Reason: reason}
	h.Ends = append(h.Ends, epochEnd{Epoch: old.Epoch, Heads: j.end.Heads})
	j.mu.RLock()
	for lane := range lanes {
		h.Lost = append(h.Lost, j.unsent(lane, "new epoch")...)
		m := j.marks[lane]
		for i := max(0, j.order(m.Epoch)); i < len(h.Ends); i++ {
			h.Ends[i].Heads[lane] = Head{}
			if h.Ends[i].Epoch == m.Epoch {
				h.Ends[i].Heads[lane] = Head{m.Seq, m.CRC}
			}
		}
	}
	j.mu.RUnlock()
	h.Ends = h.Ends[max(0, len(h.Ends)-maxEnds):]
	if err := j.begin(h); err != nil {
		return nil, j.fail(err)
	}
	j.mu.Lock()
	for lane := range lanes {
		j.marks[lane] = Mark{Epoch: h.Epoch}
	}
	j.oldest = [lanes]time.Time{}
	j.mu.Unlock()
	j.told = append(j.told, h.Lost...)
	j.opts.Log.Warn("a new epoch begins", "reason", reason, "epoch", h.Epoch, "was", old.Epoch)
	return h.Lost, nil
}
