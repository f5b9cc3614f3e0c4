package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/headcount-hub/headcount/edge"
)

// HeaderSum carries the chained CRC of the batch's last record, 8 hex digits: with it Decode
// notices records that were damaged on the way.
const HeaderSum = "Headcount-Sum"

// MaxMessage is the largest size in bytes of an encoded batch with its headers.
const MaxMessage = MaxBatch + 4<<10

// minCompress is the size in bytes below which compression is not tried, paysAt the share of the
// plain size that the compressed form must stay under to be sent instead.
const (
	minCompress = 512
	paysAt      = 0.9
)

const encodingZstd = "zstd"

// ErrMalformed is what every error of Decode and Verify wraps: the message is not a batch of this
// format and will not become one by being sent again.
var ErrMalformed = errors.New("malformed batch")

// ErrTooLarge is wrapped by a link's error when a message exceeds what the server takes: a smaller
// batch may pass.
var ErrTooLarge = errors.New("message too large for the server")

// Encode writes b as the headers and the payload of one message. It refuses a batch that Decode
// would refuse. The payload shares no memory with b.
func Encode(b Batch) (header map[string][]string, payload []byte, err error) {
	sum, err := b.Verify()
	if err != nil {
		return nil, nil, err
	}
	set := map[string][]string{
		HeaderVersion: {strconv.Itoa(Version)},
		HeaderEpoch:   {b.Epoch},
		HeaderLane:    {string(b.Lane)},
		HeaderFirst:   {strconv.FormatUint(b.First, 10)},
		HeaderCount:   {strconv.Itoa(len(b.Records))},
		HeaderCRC:     {fmt.Sprintf("%08x", b.CRC)},
		HeaderSum:     {fmt.Sprintf("%08x", sum)},
	}
	if b.Lost > 0 {
		set[HeaderLost] = []string{strconv.FormatUint(b.Lost, 10)}
	}
	payload = bytes.Join(b.Records, []byte{'\n'})
	if packed := compress(payload); packed != nil {
		set[HeaderEncoding] = []string{encodingZstd}
		payload = packed
	}
	return set, payload, nil
}

// Decode reads what Encode wrote, of this version or an older one. Its errors wrap ErrMalformed.
// It uses at most MaxBatch bytes whatever the payload claims. The records of the result may share
// memory with payload. What is inside a record is not looked at.
func Decode(header map[string][]string, payload []byte) (Batch, error) {
	h := headers(header)
	if v := h.number(HeaderVersion, 32); h.err == nil && (v < 1 || v > Version) {
		return Batch{}, fmt.Errorf("%w: version %d, this software reads up to %d: update it", ErrMalformed, v, Version)
	}
	b := Batch{
		Epoch: h.text(HeaderEpoch),
		Lane:  edge.Lane(h.text(HeaderLane)),
		First: h.number(HeaderFirst, 64),
		CRC:   h.crc(HeaderCRC),
	}
	if h.has(HeaderLost) {
		b.Lost = h.number(HeaderLost, 64)
	}
	count, sum := h.number(HeaderCount, 32), h.crc(HeaderSum)
	if h.err != nil {
		return Batch{}, h.err
	}
	plain, err := decompress(h.optional(HeaderEncoding), payload)
	if err != nil {
		return Batch{}, err
	}
	b.Records = bytes.Split(plain, []byte{'\n'})
	if uint64(len(b.Records)) != count {
		return Batch{}, fmt.Errorf("%w: %d records, header says %d", ErrMalformed, len(b.Records), count)
	}
	last, err := b.Verify()
	if err != nil {
		return Batch{}, err
	}
	if last != sum {
		return Batch{}, fmt.Errorf("%w: records damaged on the way: CRC %08x, header says %08x", ErrMalformed, last, sum)
	}
	return b, nil
}

// Verify checks that b is well formed (epoch, lane, sequences, sizes) and recomputes the chain
// from b.CRC; it returns the chained CRC of the last record. It does not look into the records:
// one that cannot be read is still a link of the chain.
func (b *Batch) Verify() (lastCRC uint32, err error) {
	n := uint64(len(b.Records))
	switch {
	case !ValidEpoch(b.Epoch):
		return 0, fmt.Errorf("%w: epoch %.40q, want 32 lower-case hex digits", ErrMalformed, b.Epoch)
	case b.Lane != edge.Events && b.Lane != edge.Readings:
		return 0, fmt.Errorf("%w: lane %.40q, want events or readings", ErrMalformed, b.Lane)
	case n == 0:
		return 0, fmt.Errorf("%w: no records", ErrMalformed)
	case b.First == 0 || b.First+n-1 < b.First:
		return 0, fmt.Errorf("%w: first sequence %d of %d records", ErrMalformed, b.First, n)
	case b.Lost >= b.First:
		return 0, fmt.Errorf("%w: %d lost before sequence %d", ErrMalformed, b.Lost, b.First)
	case b.First == 1 && b.CRC != 0:
		return 0, fmt.Errorf("%w: CRC %08x before sequence 1, want 00000000", ErrMalformed, b.CRC)
	}
	lastCRC = b.CRC
	size := len(b.Records) - 1
	for i, r := range b.Records {
		if size += len(r); size > MaxBatch {
			return 0, fmt.Errorf("%w: records exceed %d bytes", ErrMalformed, MaxBatch)
		}
		if len(r) == 0 || bytes.IndexByte(r, '\n') >= 0 {
			return 0, fmt.Errorf("%w: record %d is empty or has a newline inside", ErrMalformed, b.First+uint64(i))
		}
		lastCRC = edge.Chain(lastCRC, r)
	}
	return lastCRC, nil
}

// Last returns the sequence of the last record.
func (b *Batch) Last() uint64 { return b.First + uint64(len(b.Records)) - 1 }

// ValidEpoch tells whether s is the name of an epoch: 32 lower-case hex digits.
func ValidEpoch(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

// compress returns nil when compression does not pay.
func compress(plain []byte) []byte {
	if len(plain) < minCompress {
		return nil
	}
	packed := encoder.EncodeAll(plain, make([]byte, 0, len(plain)/4))
	if float64(len(packed)) > paysAt*float64(len(plain)) {
		return nil
	}
	return packed
}

func decompress(encoding string, payload []byte) ([]byte, error) {
	switch encoding {
	case "":
		return payload, nil
	case encodingZstd:
		plain, err := decoder.DecodeAll(payload, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("%w: encoding %.40q, this software reads zstd and none", ErrMalformed, encoding)
}

// Both coders are safe for concurrent use by EncodeAll and DecodeAll. One compressor at a time and
// a window of one batch keep the hub's memory small (0.3 MB). They are made when the program
// starts: their inner channels then belong to no test's bubble.
var (
	encoder = newEncoder()
	decoder = newDecoder()
)

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(MaxBatch), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants
	}
	e.EncodeAll([]byte{0}, nil)
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxBatch), zstd.WithDecoderMaxWindow(MaxBatch),
		zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// headerReader reads headers and keeps the first error.
type headerReader struct {
	h   map[string][]string
	err error
}

func headers(h map[string][]string) *headerReader { return &headerReader{h: h} }

func (r *headerReader) has(name string) bool { return len(r.h[name]) > 0 }

func (r *headerReader) optional(name string) string {
	if !r.has(name) {
		return ""
	}
	return r.h[name][0]
}

func (r *headerReader) text(name string) string {
	if n := len(r.h[name]); n != 1 && r.err == nil {
		r.err = fmt.Errorf("%w: header %s given %d times, want once", ErrMalformed, name, n)
	}
	return r.optional(name)
}

func (r *headerReader) number(name string, bits int) uint64 { return r.parse(name, 10, bits) }

func (r *headerReader) crc(name string) uint32 {
	s := r.text(name)
	if len(s) != 8 && r.err == nil {
		r.err = fmt.Errorf("%w: header %s is %.40q, want 8 hex digits", ErrMalformed, name, s)
	}
	return uint32(r.parse(name, 16, 32))
}

func (r *headerReader) parse(name string, base, bits int) uint64 {
	n, err := strconv.ParseUint(r.text(name), base, bits)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: header %s: %w", ErrMalformed, name, err)
	}
	return n
}
