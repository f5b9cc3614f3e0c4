package journal

import (
	"encoding/binary"
	"hash/fnv"
	"os"
)

// bbolt's meta pages, one at the start of each of the first two pages, after a page header.
const (
	metaOffset  = 16
	metaSize    = 64
	metaSummed  = 56 // bytes the checksum at the end is over
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

type boltMeta struct {
	ok    bool
	pages uint64 // pages in use
	txid  uint64
}

// checkMetas looks at a file's meta pages before bbolt does, since bbolt falls back to the older
// page, and so to the commit before, without a word. torn says that it would.
func checkMetas(path string, size int64) (torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var metas [2]boltMeta
	for i := range metas {
		var b [metaOffset + metaSize]byte
		if _, err := f.ReadAt(b[:], int64(i)*pageSize); err != nil {
			return false, damaged("%d bytes are no segment", size)
		}
		metas[i] = parseMeta(b[metaOffset:])
	}
	a, b := metas[0], metas[1]
	if !a.ok && !b.ok {
		return false, damaged("both meta pages are invalid, or it is no segment of headcount")
	}
	for _, m := range metas {
		if m.ok && m.pages*pageSize > uint64(size) {
			return false, damaged("it is cut off: %d bytes, %d expected", size, m.pages*pageSize)
		}
	}
	return !a.ok || !b.ok || (a.txid+1 != b.txid && b.txid+1 != a.txid), nil
}

// parseMeta reads a meta page as it is on the machine that wrote it.
func parseMeta(b []byte) boltMeta {
	e := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSummed])
	if e.Uint32(b) != metaMagic || e.Uint32(b[4:]) != metaVersion || e.Uint32(b[8:]) != pageSize ||
		e.Uint64(b[metaSummed:]) != sum.Sum64() {
		return boltMeta{}
	}
	return boltMeta{ok: true, pages: e.Uint64(b[40:]), txid: e.Uint64(b[48:])}
}
