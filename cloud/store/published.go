package store

import (
	"context"
	"database/sql"
)

// ReadingRecord is a record of the readings lane with whose it is.
type ReadingRecord struct {
	ID            int64 // the cursor
	Org, SiteName string
	Body          []byte
}

// ReadingsAfter lists at most limit records of the readings lane that were stored after the one
// with an id, in order, and the id of the last.
func (db *DB) ReadingsAfter(ctx context.Context, after int64, limit int) (records []ReadingRecord, last int64, err error) {
	const query = `SELECT r.id, s.org, s.site, r.body FROM readings r JOIN sites s ON s.id = r.site WHERE r.id > ? ORDER BY r.id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, query, after, limit)
	records, err = collect(rows, err, func(r *sql.Rows) (ReadingRecord, error) {
		var rec ReadingRecord
		err := r.Scan(&rec.ID, &rec.Org, &rec.SiteName, &rec.Body)
		return rec, err
	})
	if len(records) > 0 {
		last = records[len(records)-1].ID
	}
	return records, last, wrap("read readings", err)
}
