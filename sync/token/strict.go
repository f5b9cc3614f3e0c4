package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// The bounds of what is looked at before a signature was checked.
const (
	maxToken = 8 << 10 // bytes
	maxDepth = 6       // nesting of header and claims
)

// split takes a token apart: three segments, each in its only base64url form.
func split(raw string) (header, claims []byte, err error) {
	if len(raw) > maxToken {
		return nil, nil, refuse(CodeTooLong, "it has %d bytes, at most %d are read", len(raw), maxToken)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return nil, nil, refuse(CodeSegments, "want three segments with dots between them")
	}
	if header, err = segment(parts[0]); err != nil {
		return nil, nil, err
	}
	if claims, err = segment(parts[1]); err != nil {
		return nil, nil, err
	}
	_, err = segment(parts[2])
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

// object reads one JSON object strictly: no key twice at any depth, none that differs from
// another by case only, nothing behind it, valid UTF-8.
func object(data []byte, what string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, refuse(CodeJSON, "the %s is not UTF-8", what)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := unique(dec, 0); err != nil {
		var r *Refused
		if errors.As(err, &r) {
			return nil, r
		}
		return nil, refuse(CodeJSON, "the %s is not JSON", what)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, refuse(CodeJSON, "the %s has something behind its object", what)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, refuse(CodeJSON, "the %s is not a JSON object", what)
	}
	return fields, nil
}

// unique walks one JSON value.
func unique(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return refuse(CodeJSON, "nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[fold(name)] {
				return refuse(CodeDuplicate, "key %.40q stands twice", name)
			}
			seen[fold(name)] = true
		}
		if err := unique(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// fold makes keys equal that a reader without regard to case takes for one.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }
