package engine

import "github.com/headcount-hub/headcount/edge"

// packer packs readings into the data of records of at most edge.MaxRecord bytes.
type packer struct {
	buf    []byte
	starts []int // where each record's data begins in buf
}

// envelope is what a readings record needs besides its data.
const envelope = 224

func (p *packer) reset() { p.buf, p.starts = p.buf[:0], p.starts[:0] }

// add appends one reading, opening a new record when the present one is full.
func (p *packer) add(r *edge.Reading) {
	if len(p.starts) == 0 {
		p.open()
	}
	start := p.starts[len(p.starts)-1]
	before := len(p.buf)
	if before > start+1 {
		p.buf = append(p.buf, ',')
	}
	p.buf = r.AppendJSON(p.buf)
	if len(p.buf)-start > edge.MaxRecord-envelope && before > start+1 {
		tail := append([]byte(nil), p.buf[before+1:]...)
		p.buf = append(p.buf[:before], ']')
		p.open()
		p.buf = append(p.buf, tail...)
	}
}

func (p *packer) open() {
	p.starts = append(p.starts, len(p.buf))
	p.buf = append(p.buf, '[')
}

// records closes the last record and returns the data of each. They are valid until reset.
func (p *packer) records() [][]byte {
	if len(p.starts) == 0 {
		return nil
	}
	p.buf = append(p.buf, ']')
	out := make([][]byte, len(p.starts))
	for i, s := range p.starts {
		end := len(p.buf)
		if i+1 < len(p.starts) {
			end = p.starts[i+1]
		}
		out[i] = p.buf[s:end]
	}
	return out
}
