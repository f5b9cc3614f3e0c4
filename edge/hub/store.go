package hub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// releaseEvery is how often a hub without an uplink lets go of what nobody waits for.
const releaseEvery = time.Minute

// keepToItself releases what is written until ctx ends: where there is no cloud to confirm it,
// records are history from the start. Otherwise none would ever be deleted, and the quota would
// declare readings lost that nobody misses. A cloud that is added later still gets all that is
// kept, since it says that it has nothing.
func (h *Hub) keepToItself(ctx context.Context) {
	for ctx.Err() == nil {
		h.releaseAll()
		pause(ctx, releaseEvery)
	}
}

func (h *Hub) releaseAll() {
	for _, lane := range edge.Lanes {
		head := h.journal.Head(lane)
		if err := h.journal.Release(lane, journal.Mark{Epoch: h.journal.Epoch(), Seq: head.Seq, CRC: head.CRC}); err != nil {
			h.log.Warn("records are kept longer than needed", "lane", lane, "err", err)
		}
	}
}

// Store is the store of a hub that is stopped, opened for the operator's tools.
type Store struct {
	dir string
	j   *journal.Journal
}

// OpenStore opens the store under a hub's state directory. It makes none.
func OpenStore(dir, site string) (*Store, error) {
	if _, err := os.Stat(journalDir(dir)); err != nil {
		return nil, fmt.Errorf("there is no store under %s: %w; name the hub's storage.dir with --dir", dir, err)
	}
	j, err := journal.Open(journal.Options{Dir: journalDir(dir), Source: site, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("a hub runs on the store under %s: stop it first, or ask it with 'headcount status' or GET /v1/journal", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Store{dir, j}, nil
}

// Close gives the store back.
func (s *Store) Close() error { return s.j.Close() }

// Stats describes the store as GET /v1/journal does.
func (s *Store) Stats() api.Journal {
	stats := s.j.Stats()
	return api.Journal{
		Epoch:   stats.Epoch,
		Lanes:   api.Lanes{Events: laneStatus(stats.Events), Readings: laneStatus(stats.Readings)},
		Storage: api.Storage{Dir: s.dir, Bytes: stats.Bytes, Segments: stats.Segments, Quarantined: len(stats.Quarantined)},
	}
}

// Verify replays the inputs and compares every output byte; it returns how many it compared.
func (s *Store) Verify() (int, error) { return engine.Verify(s.j) }

// Export writes every record of the present epoch in commit order, one per line.
func (s *Store) Export(w io.Writer) error {
	out := bufio.NewWriter(w)
	for c, err := range s.j.Commits(0) {
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
		for _, r := range c.Records {
			out.Write(append(r.AppendJSON(nil), '\n'))
		}
	}
	return out.Flush()
}
