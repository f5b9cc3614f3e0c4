package drivers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// DecodeOptions reads an input's own options into v, a pointer to a struct with json tags. No
// options at all leave v as it is; an unknown option is an error.
func DecodeOptions(raw json.RawMessage, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("unknown option %s", name)
		}
		return fmt.Errorf("options: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("options: more than one value")
	}
	return nil
}
