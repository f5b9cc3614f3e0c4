package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/headcount-hub/headcount/edge"
)

// LaneAudit is what one lane of one epoch of a site holds, compared with its mark.
type LaneAudit struct {
	Org        string    `json:"org"`
	Site       string    `json:"site"`
	Epoch      string    `json:"epoch"`
	Lane       edge.Lane `json:"lane"`
	Current    bool      `json:"current"`
	Mark       uint64    `json:"mark"`       // newest sequence applied
	Stored     uint64    `json:"stored"`     // records
	Unreadable uint64    `json:"unreadable"` // records kept as they came
	Lost       uint64    `json:"lost"`       // declared by the hub
	Missing    uint64    `json:"missing"`    // sequences up to the mark that are none of these
	Duplicates uint64    `json:"duplicates"` // sequences that are there more than once
	Beyond     uint64    `json:"beyond"`     // sequences above the mark
	ChainOK    bool      `json:"chain_ok"`   // the CRC over all bytes ends in the mark's
	Conflict   string    `json:"conflict,omitempty"`
}

// OK tells whether every record up to the mark is there once or declared lost, with the bytes
// that the hub wrote.
func (a LaneAudit) OK() bool {
	return a.Missing == 0 && a.Duplicates == 0 && a.Beyond == 0 && a.ChainOK
}

// Audit compares what is stored with the marks and recomputes every chain. It reads everything
// once, in order, and keeps nothing in memory.
func (db *DB) Audit(ctx context.Context) ([]LaneAudit, error) {
	type lane struct {
		LaneAudit
		epoch int64
		crc   uint32
	}
	const query = `SELECT s.org, s.site, e.epoch, m.lane, m.current, m.seq, m.crc, m.conflict, e.id FROM marks m
		JOIN epochs e ON e.id = m.epoch JOIN sites s ON s.id = e.site ORDER BY s.org, s.site, e.id, m.lane`
	rows, err := db.read.QueryContext(ctx, query)
	lanes, err := collect(rows, err, func(r *sql.Rows) (lane, error) {
		var l lane
		var name string
		err := r.Scan(&l.Org, &l.Site, &l.Epoch, &name, &l.Current, &l.Mark, &l.crc, &l.Conflict, &l.epoch)
		l.Lane = edge.Lane(name)
		return l, err
	})
	if err != nil {
		return nil, wrap("audit marks", err)
	}
	out := make([]LaneAudit, len(lanes))
	for i, l := range lanes {
		if out[i], err = db.auditLane(ctx, l.LaneAudit, l.epoch, l.crc); err != nil {
			return nil, fmt.Errorf("audit %s %s %s: %w", l.Site, l.Epoch, l.Lane, err)
		}
	}
	return out, nil
}

// auditLane walks one lane by sequence: records, unreadable records, declared losses.
func (db *DB) auditLane(ctx context.Context, a LaneAudit, epoch int64, markCRC uint32) (LaneAudit, error) {
	table := "events"
	if a.Lane == edge.Readings {
		table = "readings"
	}
	query := `SELECT 0, seq, seq, 0, body FROM ` + table + ` WHERE epoch = ?
		UNION ALL SELECT 1, seq, seq, 0, body FROM unreadable WHERE epoch = ? AND lane = ?
		UNION ALL SELECT 2, first, last, crc, NULL FROM lost WHERE epoch = ? AND lane = ?
		ORDER BY 2`
	rows, err := db.read.QueryContext(ctx, query, epoch, epoch, string(a.Lane), epoch, string(a.Lane))
	if err != nil {
		return a, err
	}
	defer rows.Close()
	var done uint64
	var crc uint32
	for rows.Next() {
		var kind int
		var first, last uint64
		var chain uint32
		var body []byte
		if err := rows.Scan(&kind, &first, &last, &chain, &body); err != nil {
			return a, err
		}
		switch {
		case last > a.Mark:
			a.Beyond += last - max(first, a.Mark+1) + 1
		case first <= done:
			a.Duplicates++
			continue
		}
		a.Missing += first - done - 1
		done = last
		switch kind {
		case 0:
			a.Stored++
			crc = edge.Chain(crc, body)
		case 1:
			a.Unreadable++
			crc = edge.Chain(crc, body)
		default:
			a.Lost += last - first + 1
			crc = chain
		}
	}
	if a.Mark > done {
		a.Missing += a.Mark - done
	}
	a.ChainOK = crc == markCRC
	return a, rows.Err()
}
