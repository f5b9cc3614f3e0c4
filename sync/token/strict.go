package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// The bounds of what is looked at before a signature was checked.
const (
	maxToken = 8 << 10 // bytes
	maxDepth = 6       // nesting of header and claims
	maxNames = 64      // members of an object
)

// split takes a token apart: three segments, each in its only base64url form.
func split(raw string) (header, claims []byte, err error) {
	if len(raw) > maxToken {
		return nil, nil, refuse(CodeTooLong, "it has %d bytes, at most %d are read", len(raw), maxToken)
	}
	first, rest, _ := strings.Cut(raw, ".")
	second, third, _ := strings.Cut(rest, ".")
	if first == "" || second == "" || third == "" || strings.Contains(third, ".") {
		return nil, nil, refuse(CodeSegments, "want three segments with dots between them")
	}
	if header, err = segment(first); err != nil {
		return nil, nil, err
	}
	if claims, err = segment(second); err != nil {
		return nil, nil, err
	}
	_, err = segment(third)
	return header, claims, err
}

// segment decodes base64url without padding. The decoder of the standard library skips line
// breaks, which would give one token many forms.
func segment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, refuse(CodeEncoding, "a segment has line breaks")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, refuse(CodeEncoding, "a segment is not base64url without padding")
	}
	return b, nil
}

// object reads one JSON object strictly: valid UTF-8, no name twice at any depth, none that
// differs from another by case only, nothing behind it.
func object(data []byte, what string) (map[string]json.RawMessage, error) {
	data = bytes.TrimSpace(data)
	if !utf8.Valid(data) || !json.Valid(data) || data[0] != '{' {
		return nil, refuse(CodeJSON, "the %s is not one JSON object", what)
	}
	if err := unique(data, 0); err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	err := each(data, func(name string, value []byte) error {
		fields[name] = value
		return nil
	})
	return fields, err
}

// unique walks a valid JSON value and all in it.
func unique(value []byte, depth int) error {
	if value[0] != '{' && value[0] != '[' {
		return nil
	}
	if depth == maxDepth {
		return refuse(CodeJSON, "nested deeper than %d", maxDepth)
	}
	var few [8]string
	seen := few[:0]
	return each(value, func(name string, inner []byte) error {
		if value[0] == '{' {
			for _, s := range seen {
				if strings.EqualFold(s, name) {
					return refuse(CodeDuplicate, "name %.40q stands twice", name)
				}
			}
			if seen = append(seen, name); len(seen) > maxNames {
				return refuse(CodeJSON, "an object has more than %d members", maxNames)
			}
		}
		return unique(inner, depth+1)
	})
}

// each calls f for the members of a valid JSON object, or the elements of an array, whose name
// is empty. The values have no space around; they are parts of data.
func each(data []byte, f func(name string, value []byte) error) error {
	for i := next(data, 1); data[i] != '}' && data[i] != ']'; {
		name := ""
		if data[0] == '{' {
			end := skip(data, i)
			var ok bool
			if name, ok = str(data[i:end]); !ok {
				return errors.New("a name is not a string")
			}
			i = next(data, next(data, end)+1)
		}
		end := skip(data, i)
		if err := f(name, data[i:end:end]); err != nil {
			return err
		}
		if i = next(data, end); data[i] == ',' {
			i = next(data, i+1)
		}
	}
	return nil
}

// next is the index of the first byte from i that is not space.
func next(data []byte, i int) int {
	for data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n' {
		i++
	}
	return i
}

// skip is the index behind the value that begins at i.
func skip(data []byte, i int) int {
	for depth := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// str reads a JSON string; false for any other value.
func str(value []byte) (s string, ok bool) {
	if value[0] != '"' {
		return "", false
	}
	if !bytes.ContainsRune(value, '\\') {
		return string(value[1 : len(value)-1]), true
	}
	return s, json.Unmarshal(value, &s) == nil
}
