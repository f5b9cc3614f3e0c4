package httppush

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// scanner walks over JSON in one pass and without allocating: strings and numbers are slices of
// the input, except strings with escapes. It is as strict as RFC 8259: no comments, no trailing
// commas, no NaN, UTF-8 only.
type scanner struct {
	b   []byte
	i   int
	buf []byte // of the last string with escapes
}

const maxDepth = 16 // of nested values; a reading needs 3

var errDeep = errors.New("nested too deep")

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// end skips white space and tells whether nothing follows.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return s.unexpected(strconv.QuoteRune(rune(c)))
	}
	s.i++
	return nil
}

func (s *scanner) unexpected(want string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("ends where %s should be", want)
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return fmt.Errorf("%q where %s should be", r, want)
}

// str reads a string and returns its bytes, which are good until the next call.
func (s *scanner) str() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start, high := s.i, false
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			out := s.b[start:s.i]
			if high && !utf8.Valid(out) {
				s.i = start
				return nil, errors.New("string is not UTF-8")
			}
			s.i++
			return out, nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return nil, fmt.Errorf("control character %#x in a string", c)
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	return nil, errors.New("ends within a string")
}

// escaped reads a string that has escapes; start is where it begins.
func (s *scanner) escaped(start int) ([]byte, error) {
	s.buf = append(s.buf[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			if !utf8.Valid(s.buf) {
				return nil, errors.New("string is not UTF-8")
			}
			s.i++
			return s.buf, nil
		case c < 0x20:
			return nil, fmt.Errorf("control character %#x in a string", c)
		case c != '\\':
			s.buf = append(s.buf, c)
			s.i++
			continue
		}
		if s.i+1 >= len(s.b) {
			break
		}
		s.i += 2
		switch e := s.b[s.i-1]; e {
		case '"', '\\', '/':
			s.buf = append(s.buf, e)
		case 'b':
			s.buf = append(s.buf, '\b')
		case 'f':
			s.buf = append(s.buf, '\f')
		case 'n':
			s.buf = append(s.buf, '\n')
		case 'r':
			s.buf = append(s.buf, '\r')
		case 't':
			s.buf = append(s.buf, '\t')
		case 'u':
			r, err := s.unicode()
			if err != nil {
				return nil, err
			}
			s.buf = utf8.AppendRune(s.buf, r)
		default:
			s.i--
			return nil, fmt.Errorf("unknown escape \\%c", e)
		}
	}
	return nil, errors.New("ends within a string")
}

// unicode reads what follows \u, and the second half of a surrogate pair.
func (s *scanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || r < 0xd800 || r > 0xdfff {
		return r, err
	}
	if r < 0xdc00 && bytes.HasPrefix(s.b[s.i:], []byte(`\u`)) {
		s.i += 2
		low, err := s.hex4()
		if err == nil && low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, nil
		}
	}
	return 0, errors.New("half a surrogate pair in a string")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.b)-s.i < 4 {
		return 0, errors.New("ends within a string")
	}
	n := rune(0)
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, errors.New(`\u wants four hex digits`)
		}
	}
	s.i += 4
	return n, nil
}

// num reads a number and returns it with its text.
func (s *scanner) num() (float64, []byte, error) {
	s.space()
	start := s.i
	whole, digits := s.integer()
	if digits == 0 {
		return 0, nil, s.unexpected("a number")
	}
	plain := true
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		plain = false
		if s.digits() == 0 {
			return 0, nil, s.unexpected("a digit")
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		plain = false
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if s.digits() == 0 {
			return 0, nil, s.unexpected("a digit")
		}
	}
	text := s.b[start:s.i]
	if plain && digits <= 15 {
		return whole, text, nil
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		s.i = start
		return 0, nil, fmt.Errorf("number %.40s is out of range", text)
	}
	return x, text, nil
}

// integer reads -?(0|[1-9][0-9]*); the value is exact for up to 15 digits.
func (s *scanner) integer() (x float64, digits int) {
	neg := s.i < len(s.b) && s.b[s.i] == '-'
	if neg {
		s.i++
	}
	n := int64(0)
	for ; s.i < len(s.b) && s.b[s.i]-'0' <= 9; s.i++ {
		if digits == 1 && n == 0 { // a leading zero stands alone; what follows is refused by the caller
			return 0, digits
		}
		if digits++; digits <= 15 {
			n = n*10 + int64(s.b[s.i]-'0')
		}
	}
	if neg {
		n = -n
	}
	return float64(n), digits
}

func (s *scanner) digits() (n int) {
	for ; s.i < len(s.b) && s.b[s.i]-'0' <= 9; s.i++ {
		n++
	}
	return n
}

// word reads true, false or null.
func (s *scanner) word() (string, error) {
	s.space()
	for _, w := range [...]string{"true", "false", "null"} {
		if len(s.b)-s.i >= len(w) && string(s.b[s.i:s.i+len(w)]) == w {
			s.i += len(w)
			return w, nil
		}
	}
	return "", s.unexpected("a value")
}

// skip reads one value of any kind and forgets it.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	switch c := s.peek(); {
	case c == '{':
		return s.list('}', func() error {
			if _, err := s.str(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
			return s.skip(depth + 1)
		})
	case c == '[':
		return s.list(']', func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c-'0' <= 9:
		_, _, err := s.num()
		return err
	}
	_, err := s.word()
	return err
}

// list reads the bracket at the cursor, elements by elem with commas between, and end.
func (s *scanner) list(end byte, elem func() error) error {
	s.i++
	if s.peek() == end {
		s.i++
		return nil
	}
	for {
		if err := elem(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			return nil
		default:
			return s.unexpected("',' or " + strconv.QuoteRune(rune(end)))
		}
	}
}
