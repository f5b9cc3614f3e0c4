package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	pageSize = 4096
	// growStep is by how much a segment's file grows at most; each step costs a sync.
	growStep = 4 << 20
)

// segment is one file of the journal. What it says about itself does not change once it is
// sealed; that of the one being written is guarded by Journal.mu.
type segment struct {
	header
	path     string
	end      extent
	size     int64 // of the file
	marks    [lanes]Mark
	torn     bool // one of bbolt's two meta pages is not valid: the newest commit may be missing
	writable bool

	mu   sync.RWMutex // held for reading while db is used
	db   *bbolt.DB    // nil = not open
	gone bool         // removed or replaced
}

// has says whether the segment holds records of the lane.
func (s *segment) has(lane int) bool { return s.Slim == nil || lane != readingsLane }

// createSegment writes a new, empty segment under its final name.
func createSegment(dir string, h header) (*segment, error) {
	path := filepath.Join(dir, segmentName(h.Number))
	if err := buildSegment(path+tempSuffix, h, nil); err != nil {
		_ = os.Remove(path + tempSuffix)
		return nil, fmt.Errorf("make segment %s: %w", path, err)
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return nil, fmt.Errorf("make segment: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("make segment %s: sync directory: %w", path, err)
	}
	return &segment{header: h, path: path, end: emptyExtent(h.Start), size: fileSize(path)}, nil
}

// emptyExtent is the end of a segment that begins at start and holds nothing yet.
func emptyExtent(start extent) extent {
	return extent{Commit: start.Commit, Heads: start.Heads, LastAt: start.LastAt}
}

// buildSegment makes a segment's file, syncs and closes it. fill may add to it.
func buildSegment(path string, h header, fill func(*bbolt.DB) error) error {
	b, err := seal(h)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return guard(func() error {
		db, err := bbolt.Open(path, fileMode, &bbolt.Options{Timeout: lockTimeout, PageSize: pageSize, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		defer db.Close()
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{bucketHeader, bucketLane[0], bucketLane[1], bucketCommits, bucketMarks} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			return tx.Bucket(bucketHeader).Put(keyOnly, b)
		})
		if err == nil && fill != nil {
			err = fill(db)
		}
		if err != nil {
			return err
		}
		return db.Close()
	})
}

// openDB opens a segment's file. mapSize is how much address space a writer reserves, so that
// bbolt need not map anew, which waits for readers.
func openDB(path string, writable bool, mapSize, grow int) (db *bbolt.DB, err error) {
	var file *os.File
	opts := &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, FreelistType: bbolt.FreelistMapType, ReadOnly: !writable,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, flag&^os.O_CREATE, mode) // a missing file is never made anew in passing
			return file, err
		},
	}
	if writable {
		opts.InitialMmapSize = mapSize
	}
	err = guard(func() error {
		db, err = bbolt.Open(path, fileMode, opts)
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err != nil {
		if file != nil {
			_ = file.Close() // bbolt left it open, and locked, when it panicked
		}
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	db.AllocSize = grow
	return db, nil
}

// view runs fn in a short read transaction. It returns errMoved when the segment has left.
func (j *Journal) view(s *segment, fn func(*bbolt.Tx) error) error {
	for {
		s.mu.RLock()
		if s.gone {
			s.mu.RUnlock()
			return errMoved
		}
		if s.db != nil {
			err := guard(func() error { return s.db.View(fn) })
			s.mu.RUnlock()
			return err
		}
		s.mu.RUnlock()
		if err := j.openSealed(s); err != nil {
			return err
		}
	}
}

// maxOpen bounds how many sealed segments are open at a time.
const maxOpen = 4

// openSealed opens a sealed segment for reading and closes the one that was opened longest ago.
func (j *Journal) openSealed(s *segment) error {
	s.mu.Lock()
	if s.gone || s.db != nil {
		s.mu.Unlock()
		return nil
	}
	db, err := openDB(s.path, false, 0, 0)
	s.db = db
	s.mu.Unlock()
	if err != nil {
		return err
	}
	j.poolMu.Lock()
	j.pool = append(j.pool, s)
	var oldest *segment
	if len(j.pool) > maxOpen {
		oldest, j.pool = j.pool[0], j.pool[1:]
	}
	j.poolMu.Unlock()
	if oldest != nil {
		return oldest.close(false)
	}
	return nil
}

// close closes the file after the readers are through; gone tells later ones that it has left.
func (s *segment) close(gone bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = s.gone || gone
	if s.db == nil {
		return nil
	}
	err := guard(s.db.Close)
	s.db = nil
	return err
}

// inspect reads what a segment's file says about itself without trusting it.
func inspect(path string) (*segment, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, damaged("it is not a regular file")
	}
	s := &segment{path: path, size: info.Size()}
	if s.torn, err = checkMetas(path, info.Size()); err != nil {
		return nil, err
	}
	db, err := openDB(path, false, 0, 0)
	if err != nil {
		return nil, err
	}
	err = guard(func() error { return db.View(s.load) })
	return s, errors.Join(err, guard(db.Close))
}

// load reads header, end and marks.
func (s *segment) load(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketHeader, bucketLane[0], bucketLane[1], bucketCommits, bucketMarks} {
		if tx.Bucket(name) == nil {
			return damaged("no journal: bucket %s is missing", name)
		}
	}
	if err := unseal(tx.Bucket(bucketHeader).Get(keyOnly), &s.header); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if s.Format > format {
		return nil
	}
	if v := tx.Bucket(bucketMarks).Get(keyOnly); v != nil {
		if err := unseal(v, &s.marks); err != nil {
			return fmt.Errorf("marks: %w", err)
		}
	}
	var err error
	s.end, err = s.readEnd(tx)
	return err
}

func (s *segment) readEnd(tx *bbolt.Tx) (extent, error) {
	if s.Slim != nil {
		return *s.Slim, nil
	}
	end := emptyExtent(s.Start)
	commits := tx.Bucket(bucketCommits).Cursor()
	k, v := commits.Last()
	if k == nil {
		return end, nil
	}
	last, err := parseCommitEntry(v)
	if err != nil {
		return end, err
	}
	k1, v1 := commits.First()
	first, err := parseCommitEntry(v1)
	if err != nil {
		return end, err
	}
	if len(k) != 8 || binary.BigEndian.Uint64(k1) != s.Start.Commit+1 {
		return end, damaged("its first commit is not %d", s.Start.Commit+1)
	}
	end.Commit, end.FirstAt, end.LastAt = binary.BigEndian.Uint64(k), first.time(), last.time()
	for i := range end.Heads {
		end.Bytes[i] = int64(last.bytes[i])
		if end.Heads[i], err = lastRecord(tx, i, s.Start.Heads[i]); err != nil {
			return end, err
		}
		if end.Heads[i].Seq != last.last[i] {
			return end, damaged("%s end at %d, the newest commit says %d", bucketLane[i], end.Heads[i].Seq, last.last[i])
		}
	}
	return end, nil
}

// lastRecord is the newest record of the lane in the segment, or start when there is none.
func lastRecord(tx *bbolt.Tx, lane int, start Head) (Head, error) {
	k, v := tx.Bucket(bucketLane[lane]).Cursor().Last()
	if k == nil {
		return start, nil
	}
	if len(k) != 8 || len(v) < 4 {
		return Head{}, damaged("%s: newest record has %d bytes", bucketLane[lane], len(v))
	}
	return Head{Seq: binary.BigEndian.Uint64(k), CRC: binary.BigEndian.Uint32(v)}, nil
}
