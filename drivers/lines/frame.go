package lines

import (
	"bytes"
	"unicode/utf8"

	"github.com/headcount-hub/headcount/drivers/payload"
)

// maxLine is the longest line in bytes, without its end.
const maxLine = payload.MaxLine

// framer cuts a stream of bytes into lines. It finds back to the beginning of a line after
// anything: what is no text, and what is too long, is one broken line up to the next end of line.
type framer struct {
	buf  []byte // the last line, not yet ended
	skip bool   // the rest of a line that is too long is coming
}

// line is one line that ended, or what is wrong with it.
type line struct {
	text  []byte // good until the next push
	cause string // not empty: it cannot be read, for this cause
}

// Causes of rejection.
const (
	causeNoise   = "noise"    // bytes that are no text
	causeTooLong = "too long" // more than maxLine bytes without an end of line
)

// push takes what was received and calls each with every line that has ended. CR, LF and CR LF
// end a line; empty lines and comments (#) are nothing.
func (f *framer) push(b []byte, each func(line)) {
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			f.keep(b, each)
			return
		}
		f.end(b[:i], each)
		b = b[i+1:]
	}
}

func (f *framer) keep(b []byte, each func(line)) {
	if f.skip {
		return
	}
	if len(f.buf)+len(b) > maxLine {
		f.buf, f.skip = f.buf[:0], true
		each(line{cause: causeTooLong})
		return
	}
	f.buf = append(f.buf, b...)
}

func (f *framer) end(b []byte, each func(line)) {
	if f.keep(b, each); f.skip {
		f.skip = false
		return
	}
	text := bytes.TrimSpace(f.buf)
	switch {
	case !isText(f.buf):
		each(line{cause: causeNoise})
	case len(text) > 0 && text[0] != '#':
		each(line{text: text})
	}
	f.buf = f.buf[:0]
}

// isText tells whether b is UTF-8 without control characters but the tab.
func isText(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
