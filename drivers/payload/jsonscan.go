package payload

import (
	"strconv"
	"unicode/utf8"
)

// str reads a string and returns where its content stands.
func (d *JSON) str() (from, to int32, esc bool, err *Error) {
	d.i++
	start, high := d.i, byte(0)
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			if high >= utf8.RuneSelf && !utf8.Valid(d.b[start:d.i]) {
				d.i = start
				return 0, 0, false, d.wrong("string is not UTF-8")
			}
			d.i++
			return int32(start), int32(d.i - 1), esc, nil
		case c < 0x20:
			return 0, 0, false, d.wrong("control character in a string")
		case c == '\\':
			esc = true
			if err := d.escape(); err != nil {
				return 0, 0, false, err
			}
		default:
			high |= c
			d.i++
		}
	}
	return 0, 0, false, d.wrong("ends within a string")
}

// escape reads what a backslash begins; halves of surrogate pairs are refused.
func (d *JSON) escape() *Error {
	if d.i+1 >= len(d.b) {
		return d.wrong("ends within a string")
	}
	switch d.b[d.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.i += 2
		return nil
	case 'u':
		r, ok := d.hex(d.i + 2)
		switch {
		case !ok:
			return d.wrong(`\u without four hex digits`)
		case r < 0xd800 || r > 0xdfff:
			d.i += 6
			return nil
		}
		low, ok := rune(0), false
		if d.i+7 < len(d.b) && d.b[d.i+6] == '\\' && d.b[d.i+7] == 'u' {
			low, ok = d.hex(d.i + 8)
		}
		if !ok || r > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return d.wrong("half a surrogate pair in a string")
		}
		d.i += 12
		return nil
	}
	return d.wrong("unknown escape in a string")
}

func (d *JSON) hex(at int) (rune, bool) {
	if at+4 > len(d.b) {
		return 0, false
	}
	n := rune(0)
	for _, c := range d.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func (d *JSON) word(w string) *Error {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return d.wrong("no JSON value")
	}
	d.i += len(w)
	return nil
}

// number checks a number's grammar and range.
func (d *JSON) number() *Error {
	start := d.i
	d.sign("-")
	whole := d.i
	if d.digits() == 0 {
		d.i = start
		return d.wrong("no JSON value")
	}
	if d.b[whole] == '0' && d.i-whole > 1 {
		return d.wrong("number with a leading zero")
	}
	if d.i < len(d.b) && d.b[d.i] == '.' {
		d.i++
		if d.digits() == 0 {
			return d.wrong("no digit after the decimal point")
		}
	}
	if d.i-start > maxDigits {
		return errorf(TooLarge, "number of more than %d characters at byte %d", maxDigits, start)
	}
	if d.i == len(d.b) || d.b[d.i]|0x20 != 'e' {
		return nil
	}
	d.i++
	d.sign("+-")
	if d.digits() == 0 {
		return d.wrong("no digit in the exponent")
	}
	if d.i-start > maxDigits {
		return errorf(TooLarge, "number of more than %d characters at byte %d", maxDigits, start)
	}
	if _, err := strconv.ParseFloat(string(d.b[start:d.i]), 64); err != nil {
		return errorf(TooLarge, "number %s is out of range", d.b[start:d.i])
	}
	return nil
}

func (d *JSON) sign(of string) {
	for i := 0; i < len(of) && d.i < len(d.b); i++ {
		if d.b[d.i] == of[i] {
			d.i++
			return
		}
	}
}

func (d *JSON) digits() int {
	start := d.i
	for d.i < len(d.b) && d.b[d.i]-'0' <= 9 {
		d.i++
	}
	return d.i - start
}
