package journal

import (
	"fmt"
	"hash/crc32"
	"time"

	"go.etcd.io/bbolt"
)

// checkpointChunk is the size of a checkpoint's pieces: two fill eight pages.
const checkpointChunk = 16000

// checkpointHead describes the newest checkpoint of a segment.
type checkpointHead struct {
	Commit uint64    `json:"commit"`
	At     time.Time `json:"at"`
	Size   int       `json:"size"`
	CRC    uint32    `json:"crc"`
}

// putCheckpoint replaces the segment's checkpoint.
func putCheckpoint(tx *bbolt.Tx, end extent, state []byte) error {
	if tx.Bucket(bucketCheckpoint) != nil {
		if err := tx.DeleteBucket(bucketCheckpoint); err != nil {
			return err
		}
	}
	b, err := tx.CreateBucket(bucketCheckpoint)
	if err != nil {
		return err
	}
	head, err := seal(checkpointHead{end.Commit, end.LastAt, len(state), crc32.Checksum(state, castagnoli)})
	if err != nil {
		return err
	}
	b.FillPercent = 1
	if err := b.Put(key(0), head); err != nil {
		return err
	}
	for n := uint64(1); len(state) > 0; n++ {
		chunk := state[:min(len(state), checkpointChunk)]
		if err := b.Put(key(n), chunk); err != nil {
			return err
		}
		state = state[len(chunk):]
	}
	return nil
}

// getCheckpoint copies the segment's checkpoint out; its state is nil when there is none.
func getCheckpoint(tx *bbolt.Tx) (head checkpointHead, state []byte, err error) {
	b := tx.Bucket(bucketCheckpoint)
	if b == nil {
		return head, nil, nil
	}
	if err := unseal(b.Get(key(0)), &head); err != nil {
		return head, nil, fmt.Errorf("checkpoint: %w", err)
	}
	state = []byte{}
	for n := uint64(1); len(state) < head.Size; n++ {
		chunk := b.Get(key(n))
		if len(chunk) == 0 {
			return head, nil, damaged("checkpoint ends after %d of %d bytes", len(state), head.Size)
		}
		state = append(state, chunk...)
	}
	if crc32.Checksum(state, castagnoli) != head.CRC || len(state) != head.Size {
		return head, nil, damaged("checkpoint: checksum does not match")
	}
	return head, state, nil
}
